/* What an HLS compiler is told, by compiler. An ordinary one is told nothing.
 *
 *   HWT_PIPELINE                      as the first line of a loop's body: begin a turn every cycle
 *   HWT_PORT(name, bundle, depth)     an array argument of the top lies in memory, behind an AXI master
 *   HWT_CONTROL(name)                 a scalar argument of the top (or return) is a register on AXI-Lite
 *   HWT_STREAM(name)                  an argument of the top is an AXI stream
 */
#ifndef HWT_PRAGMAS_H
#define HWT_PRAGMAS_H

#define HWT_PRAGMA(text) _Pragma(#text)

#if defined(__VITIS_HLS__) || defined(__SYNTHESIS__)
#define HWT_PIPELINE HWT_PRAGMA(HLS PIPELINE II = 1)
#define HWT_PORT(name, where, values) HWT_PRAGMA(HLS INTERFACE m_axi port = name offset = slave bundle = where depth = values)
#define HWT_CONTROL(name) HWT_PRAGMA(HLS INTERFACE s_axilite port = name)
#define HWT_STREAM(name) HWT_PRAGMA(HLS INTERFACE axis port = name)
#elif defined(__BAMBU__) /* takes no PIPELINE */
#define HWT_PIPELINE
#define HWT_PORT(name, where, values) HWT_PRAGMA(HLS interface port = name mode = m_axi offset = direct bundle = where)
#define HWT_CONTROL(name)
#define HWT_STREAM(name)
#else
#define HWT_PIPELINE
#define HWT_PORT(name, where, values)
#define HWT_CONTROL(name)
#define HWT_STREAM(name)
#endif

#endif
