/* A stand-in for the vendor's header of this name: an unbounded queue. For the test bench, not for synthesis. */
#ifndef HLS_STREAM_H
#define HLS_STREAM_H

#include <queue>
#include <stdexcept>

namespace hls {
template <typename T> class stream {
    std::queue<T> queue;

public:
    void write(const T &value) { queue.push(value); }
    T read()
    {
        if (queue.empty())
            throw std::runtime_error("read from an empty stream: the hardware would wait for ever");
        T value = queue.front();
        queue.pop();
        return value;
    }
    bool empty() const { return queue.empty(); }
};
} // namespace hls

#endif
