// A whole safetensors file: 8 bytes of length, header, data.
#include "mpimerge/checkpoint/safetensors.hpp"

#include "fuzz/memory_file.hpp"
#include "fuzz/target.hpp"
#include "fuzz/tensors.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  static const fuzz::MemoryFile file;
  file.assign(fuzz::text_of(data, size));
  fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
    const checkpoint::Catalog catalog = checkpoint::open_safetensors(file.name());
    fuzz::require_sound(catalog.tensors, base::Bytes{8}, base::Bytes{size});
  });
  return 0;
}
