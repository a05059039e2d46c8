// A file of torch.save: a zip file that holds a pickle and storages.
#include "mpimerge/checkpoint/torch.hpp"

#include "fuzz/memory_file.hpp"
#include "fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  static const fuzz::MemoryFile file;
  file.assign(fuzz::text_of(data, size));
  fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
    for (const auto& tensor : checkpoint::open_torch(file.name()).tensors) {
      fuzz::require(
          tensor.offset <= base::Bytes{size} && tensor.bytes <= base::Bytes{size} - tensor.offset,
          "every tensor lies in the file");
    }
  });
  return 0;
}
