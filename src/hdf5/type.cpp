#include "hdf5/type.hpp"

#include <cstddef>
#include <cstdint>

#include <hdf5.h>

#include "hdf5/calls.hpp"

namespace mpimerge::hdf5 {
namespace {

struct FloatFormat {
  std::size_t bytes;
  std::size_t exponent_bits;
  std::size_t mantissa_bits;
  std::size_t bias;
};

Type make_float(const FloatFormat& format) {
  Type type = call::copy_type(H5T_IEEE_F32LE);
  // The order matters: no step may leave a field outside the precision, or the precision outside
  // the size.
  call::set_float_fields(type, format.bytes * 8 - 1, format.mantissa_bits, format.exponent_bits, 0,
                         format.mantissa_bits);
  call::set_precision(type, format.bytes * 8);
  call::set_type_size(type, format.bytes);
  call::set_exponent_bias(type, format.bias);
  return type;
}

Type make_bool() {
  Type type = call::create_enum(H5T_STD_I8LE);
  for (const std::int8_t value : {std::int8_t{0}, std::int8_t{1}}) {
    call::insert_enum(type, value == 0 ? "FALSE" : "TRUE", &value);
  }
  return type;
}

}  // namespace

Type stored_type(base::Dtype dtype) {
  using base::Dtype;
  switch (dtype) {
    case Dtype::f64: return call::copy_type(H5T_IEEE_F64LE);
    case Dtype::f32: return call::copy_type(H5T_IEEE_F32LE);
    case Dtype::f16: return make_float({2, 5, 10, 15});
    case Dtype::bf16: return make_float({2, 8, 7, 127});
    case Dtype::f8_e5m2: return make_float({1, 5, 2, 15});
    case Dtype::f8_e4m3: return call::copy_type(H5T_STD_U8LE);
    case Dtype::i64: return call::copy_type(H5T_STD_I64LE);
    case Dtype::i32: return call::copy_type(H5T_STD_I32LE);
    case Dtype::i16: return call::copy_type(H5T_STD_I16LE);
    case Dtype::i8: return call::copy_type(H5T_STD_I8LE);
    case Dtype::u64: return call::copy_type(H5T_STD_U64LE);
    case Dtype::u32: return call::copy_type(H5T_STD_U32LE);
    case Dtype::u16: return call::copy_type(H5T_STD_U16LE);
    case Dtype::u8: return call::copy_type(H5T_STD_U8LE);
    case Dtype::boolean: return make_bool();
  }
  throw Failure("store elements: unknown type", false);
}

}  // namespace mpimerge::hdf5
