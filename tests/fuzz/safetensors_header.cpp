// The header alone, of a file as large as the first 8 bytes of the input (little-endian) say: tensors
// that no file at hand could hold.
#include <cstring>

#include "mpimerge/checkpoint/safetensors.hpp"

#include "fuzz/target.hpp"
#include "fuzz/tensors.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  std::uint64_t data_bytes = 0;
  if (size < sizeof(data_bytes)) return 0;
  std::memcpy(&data_bytes, data, sizeof(data_bytes));
  data_bytes %= std::uint64_t{1} << 63;  // the most that a file can have
  const std::string_view json = fuzz::text_of(data + sizeof(data_bytes), size - sizeof(data_bytes));
  const base::Bytes begin{8 + json.size()};
  fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
    const checkpoint::SafetensorsHeader header = checkpoint::parse_safetensors_header(
        json, begin, base::Bytes{data_bytes}, "model.safetensors");
    fuzz::require_sound(header.tensors, begin, begin + base::Bytes{data_bytes});
    base::Bytes sum;
    for (const checkpoint::TensorInfo& tensor : header.tensors) sum += tensor.bytes;
    fuzz::require(sum == base::Bytes{data_bytes}, "the tensors fill the file");
  });
  return 0;
}
