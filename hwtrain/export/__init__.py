"""What a program becomes: printers to C and other languages, one file each."""
