/* A stand-in for the vendor's header of this name: the data and side-band signals of an AXI stream's beat. */
#ifndef AP_AXI_SDATA_H
#define AP_AXI_SDATA_H

#include <stdint.h>

namespace hls {
template <typename T, int user, int id, int dest> struct axis {
    T data;
    int keep, strb, last;
};
} // namespace hls

#endif
