#include "mpimerge/base/dtype.hpp"

namespace mpimerge::base {
namespace {

struct Description {
  std::string_view name;
  std::uint64_t bytes;
};

constexpr Description describe(Dtype dtype) noexcept {
  switch (dtype) {
    case Dtype::f64: return {"F64", 8};
    case Dtype::f32: return {"F32", 4};
    case Dtype::f16: return {"F16", 2};
    case Dtype::bf16: return {"BF16", 2};
    case Dtype::f8_e4m3: return {"F8_E4M3", 1};
    case Dtype::f8_e5m2: return {"F8_E5M2", 1};
    case Dtype::i64: return {"I64", 8};
    case Dtype::i32: return {"I32", 4};
    case Dtype::i16: return {"I16", 2};
    case Dtype::i8: return {"I8", 1};
    case Dtype::u64: return {"U64", 8};
    case Dtype::u32: return {"U32", 4};
    case Dtype::u16: return {"U16", 2};
    case Dtype::u8: return {"U8", 1};
    case Dtype::boolean: return {"BOOL", 1};
  }
  return {"?", 0};
}

}  // namespace

std::string_view name(Dtype dtype) noexcept { return describe(dtype).name; }

std::optional<Dtype> parse_dtype(std::string_view text) noexcept {
  for (const Dtype dtype : kAllDtypes) {
    if (describe(dtype).name == text) return dtype;
  }
  return std::nullopt;
}

Bytes element_bytes(Dtype dtype) noexcept { return Bytes{describe(dtype).bytes}; }

bool is_merged(Dtype dtype) noexcept {
  return dtype == Dtype::f64 || dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16;
}

bool is_floating(Dtype dtype) noexcept {
  return is_merged(dtype) || dtype == Dtype::f8_e4m3 || dtype == Dtype::f8_e5m2;
}

}  // namespace mpimerge::base
