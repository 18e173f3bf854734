// The SIMD layer: one trait class for each instruction set. Kernels are templates over such a class `S` and contain no
// intrinsics of their own. A kernel file for one instruction set (*_avx2.cpp, *_avx512.cpp, ...) includes one trait header and
// instantiates its kernels with that class. (AMX has no vectors of its own: its kernels use isa/amx_tiles.h and AVX-512.)
//
// Every trait class has these members. F32, I32 and Mask have LANES lanes; an I32 is also read as BYTES bytes or 16-bit words.
//
//   Types, constants
//     F32, I32, Mask              vector of floats, vector of integers, one truth value for each lane of an F32
//     Half                        trait class of the vectors of half the length, or this class if it has the shortest
//     LANES, BYTES                lanes of 32 bits and bytes of a vector
//     HAS_VNNI                    dot() is one instruction and cannot saturate
//
//   Floats: load and store (unaligned unless the name says otherwise; an aligned address is a multiple of BYTES)
//     zero() broadcast(x) first(v)                     first: lane 0
//     load(p) load_aligned(p) store(p, v) store_aligned(p, v)
//     store_first(p, v, n)                             the first n lanes; n <= 0 stores none, n >= LANES all
//     load_repeated<N>(p)                              N floats, repeated to fill the vector
//   Floats: converted from and to memory
//     load_f16(p) load_bf16(p) load_i8(p)              LANES numbers of that type, widened exactly
//     store_f16(p, v)                                  rounded to nearest even
//     half_to_float(h) float_to_half(x)                one number
//   Floats: arithmetic by lane
//     add sub mul div(a, b) fma(a, b, c)               fma = a * b + c, rounded once
//     max(a, b)                                        b if either is NaN
//     round(x)                                         to the nearest whole number, ties to even
//     scale_by_power(x, n)                             x * 2^n for whole n with 2^n a normal float
//     bit_and bit_or bit_andnot(a, b)                  andnot = ~a & b
//     any_nan(x)
//   Masks
//     less(a, b) equal(a, b)                           false for NaN
//     mask_of_bits(bits)                               lane i: bit i
//     select(mask, a, b)                               a where true, b where false
//     zero_if(mask, x)                                 0 where true, x where false
//   Floats: across lanes
//     swap_lanes<D>(x)                                 lane i: x[i ^ D] for D = 1, 2, 4 .. LANES / 2
//     horizontal_sums(x)                               x: LANES vectors; lane i: the sum of x[i]. Of each four lanes, 0 + 2 and
//                                                      1 + 3; then these two; then pairs of fours, and so on
//     transpose(x)                                     x: LANES vectors, in place
//
//   Integers
//     zero_ints() broadcast_i8(x) broadcast_i32(x) first_i32(v)
//     load_bytes(p) load_bytes_aligned(p) store_bytes(p, v)
//     bit_and bit_or bit_xor(a, b)  or_and(a, b, c)    or_and = a | (b & c)
//     add_i32(a, b)
//     shift_left_i16<N>(v) shift_right_i16<N>(v)       16-bit words, zeros come in
//     low_nibbles(v) high_nibbles(v)                   of every byte
//     set_bits_where(v, bits, x)                       bytes: v | x in byte n if bit n of the BYTES bits at `bits` is set; v must
//                                                      not have any of the bits of x yet
//     to_floats(v) to_ints(x)                          to_ints rounds to nearest even
//     match_u16x64(p, value, care)                     64 words at p; bit i: (p[i] & care) == value
//   Integers: dot products of bytes. Lane i adds 4 products of unsigned bytes of u with signed bytes of s to sum[i].
//     dot(sum, u, s)                                   without VNNI each pair of products must fit into 16 bits
//     dot_broadcast(sum, u, four)                      s is the 4 bytes at `four` in every lane
//
// Everything in these headers has internal linkage and is inlined: kernel files are compiled with different flags, and the
// linker must not take one file's function for another's.
#pragma once

#include <cstdint>
#include <cstring>

#define LC_INLINE static inline __attribute__((always_inline))
