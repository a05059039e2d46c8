// The data.pkl of a torch file: a program for a machine that executes nothing.
#include "checkpoint/torch_pickle.hpp"

#include "fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mpimerge;
  fuzz::may_refuse({base::ErrorKind::input}, 1, [&] {
    for (const auto& tensor :
         checkpoint::parse_torch_pickle(fuzz::text_of(data, size), "model.bin")) {
      fuzz::require(tensor.bytes.value() ==
                        tensor.elements.value() * base::element_bytes(tensor.dtype).value(),
                    "a tensor has the bytes of its elements");
      fuzz::require(tensor.offset <= tensor.storage_bytes &&
                        tensor.bytes <= tensor.storage_bytes - tensor.offset,
                    "a tensor lies in its storage");
    }
  });
  return 0;
}
