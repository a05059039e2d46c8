#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/base/index.hpp"
#include "mpimerge/comm/collectives.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/output/hdf5_layout.hpp"

namespace mpimerge::test {

/// Local. Byte `at` of the dataset of that type: any pattern that repeats late. The check with h5py
/// has it as well.
inline std::byte sample_byte(base::Dtype dtype, std::uint64_t at) {
  const std::uint64_t seed = at + 1'000'003 * static_cast<std::uint64_t>(dtype);
  const std::uint64_t mixed = (seed * 0x9E3779B97F4A7C15U) >> 56U;
  return std::byte(dtype == base::Dtype::boolean ? mixed & 1U : mixed);
}

/// Local. The bytes of elements [begin, end) of the dataset of that type.
inline std::vector<std::byte> sample_bytes(base::Dtype dtype, base::ElementRange range) {
  const std::uint64_t size = base::element_bytes(dtype).value();
  std::vector<std::byte> bytes(range.count().value() * size);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    bytes[at] = sample_byte(dtype, range.begin.value() * size + at);
  }
  return bytes;
}

/// Local. Every element type, shapes of all kinds, names of all kinds.
inline output::Hdf5Layout sample_layout() {
  output::Hdf5Layout layout;
  for (const base::Dtype dtype : base::kAllDtypes) {
    const std::string type(base::name(dtype));
    std::uint64_t elements = 0;
    const auto add = [&](const std::string& name, const std::vector<std::uint64_t>& shape) {
      layout.tensors.push_back({name, dtype, shape, base::Elements{elements}});
      std::uint64_t count = 1;
      for (const std::uint64_t length : shape) count *= length;
      elements += count;
    };
    add("model." + type + ".weight", {70, 1000});
    add("größe/" + type, {3, 1, 5, 7});
    add("groups/" + type + "/deep/down", {1});
    add(type + " scalar", {});
    add(type + ".empty", {4, 0});
    add(type + ".bias", {1021});
    layout.datasets.push_back({dtype, base::Elements{elements}});
  }
  layout.metadata = {{"format", "pt"}, {"größe", "\"quoted\"\n"}};
  layout.job = "merge_method: ties\n";
  return layout;
}

/// Which elements of a dataset a rank writes. Ranges of all ranks must cover it without overlap.
using Cut = std::function<base::ElementRange(base::Elements, int rank, int ranks)>;

/// Local. As even as can be.
inline base::ElementRange even_cut(base::Elements elements, int rank, int ranks) {
  const auto share = [&](int which) {
    return base::Elements{elements.value() * static_cast<std::uint64_t>(which) /
                          static_cast<std::uint64_t>(ranks)};
  };
  return {share(rank), share(rank + 1)};
}

/// Local. Rank r has r parts of 0 + 1 + ... + (ranks - 1): the first none; alone it has all.
inline base::ElementRange growing_cut(base::Elements elements, int rank, int ranks) {
  if (ranks == 1) return {base::Elements{0}, elements};
  const auto parts = [](int which) {
    return static_cast<std::uint64_t>(which) * static_cast<std::uint64_t>(which - 1) / 2;
  };
  const auto share = [&](int which) {
    return base::Elements{elements.value() * parts(which) / parts(ranks)};
  };
  return {share(rank), share(rank + 1)};
}

/// Local. The last rank has all.
inline base::ElementRange last_has_all(base::Elements elements, int rank, int ranks) {
  return rank == ranks - 1 ? base::ElementRange{base::Elements{0}, elements} : base::ElementRange{};
}

/// Collective. Writes all datasets of the sample, each rank its range in slabs of `slab` elements.
/// Ranks that are done write nothing in the remaining rounds.
template <class Writer>
void write_sample(Writer& writer, const comm::Comm& comm, const output::Hdf5Layout& layout,
                  const Cut& cut, std::uint64_t slab) {
  for (std::size_t which = 0; which < layout.datasets.size(); ++which) {
    const auto& dataset = layout.datasets[which];
    const base::ElementRange mine = cut(dataset.elements, comm.rank(), comm.ranks());
    const std::uint64_t most = comm::all_reduce_max(comm, mine.count().value());
    for (std::uint64_t done = 0; done < most; done += slab) {
      const std::uint64_t begin = mine.begin.value() + std::min(done, mine.count().value());
      const std::uint64_t end = std::min(begin + slab, mine.end.value());
      const auto bytes = sample_bytes(dataset.dtype, {base::Elements{begin}, base::Elements{end}});
      writer.write(which, base::Elements{begin}, bytes);
    }
  }
}

}  // namespace mpimerge::test
