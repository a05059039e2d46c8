#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mpimerge/base/dtype.hpp"
#include "mpimerge/checkpoint/catalog.hpp"

#include "support/reference/formats.hpp"

namespace mpimerge::test {

/// A tensor with its values, as they stand in a file.
struct ModelTensor {
  std::string name;
  base::Dtype dtype = base::Dtype::f32;
  std::vector<std::uint64_t> shape;
  std::vector<std::byte> bytes;
};
using Model = std::vector<ModelTensor>;

/// Local. Bytes of the values in a floating type, each rounded to nearest even.
inline std::vector<std::byte> encode(base::Dtype dtype, const std::vector<double>& values) {
  const std::size_t size = base::element_bytes(dtype).value();
  std::vector<std::byte> bytes(values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint64_t bits = std::bit_cast<std::uint64_t>(values[i]);
    if (dtype == base::Dtype::f32) bits = reference::nearest(reference::kSingle, values[i]);
    if (dtype == base::Dtype::f16) bits = reference::nearest(reference::kHalf, values[i]);
    if (dtype == base::Dtype::bf16) bits = reference::nearest(reference::kBfloat, values[i]);
    std::memcpy(bytes.data() + i * size, &bits, size);  // little-endian
  }
  return bytes;
}

/// Local. The values of a floating type's bytes, as float32.
inline std::vector<float> decode(base::Dtype dtype, const std::vector<std::byte>& bytes) {
  const std::size_t size = base::element_bytes(dtype).value();
  std::vector<float> values(bytes.size() / size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * size, size);
    double value = std::bit_cast<double>(bits);
    const auto low = static_cast<std::uint32_t>(bits);
    if (dtype == base::Dtype::f32) value = reference::value_of(reference::kSingle, low);
    if (dtype == base::Dtype::f16) value = reference::value_of(reference::kHalf, low);
    if (dtype == base::Dtype::bf16) value = reference::value_of(reference::kBfloat, low);
    values[i] = static_cast<float>(value);
  }
  return values;
}

inline std::uint64_t elements_of(const std::vector<std::uint64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
}

inline const ModelTensor& find(const Model& model, const std::string& name) {
  return *std::find_if(model.begin(), model.end(),
                       [&](const ModelTensor& tensor) { return tensor.name == name; });
}

/// How a model lies in its files.
struct Storage {
  std::size_t files = 1;
  bool reversed = false;    ///< the last tensor first
  std::size_t header = 10;  ///< bytes before the first tensor of a file
  std::size_t gap = 0;      ///< bytes between tensors
};

/// Local. Writes the model into `directory` and says where everything is.
inline checkpoint::Catalog write_model(const std::filesystem::path& directory,
                                       const std::string& name, Model model,
                                       const Storage& storage = {}) {
  if (storage.reversed) std::reverse(model.begin(), model.end());
  checkpoint::Catalog catalog;
  catalog.path = "models/" + name;  // for messages; the same on every rank
  const std::size_t per_file = (model.size() + storage.files - 1) / storage.files;
  std::ofstream file;
  std::uint64_t offset = 0;
  const auto fill = [&](std::size_t bytes) {
    file << std::string(bytes, '#');
    offset += bytes;
  };
  // A file that could not be written would look like a fault of what reads it.
  const auto close = [&] {
    if (file.is_open()) file.close();
    if (!file) throw std::runtime_error("cannot write " + catalog.files.back().string());
  };
  for (std::size_t number = 0; number < model.size(); ++number) {
    const ModelTensor& tensor = model[number];
    if (number % per_file == 0) {
      close();
      const std::string file_name = name + "-" + std::to_string(catalog.files.size());
      catalog.files.push_back(directory / file_name);
      file = std::ofstream(catalog.files.back(), std::ios::binary);
      offset = 0;
      fill(storage.header);
    } else {
      fill(storage.gap);
    }
    checkpoint::TensorInfo info;
    info.name = tensor.name;
    info.dtype = tensor.dtype;
    info.shape = tensor.shape;
    info.elements = base::Elements{elements_of(tensor.shape)};
    info.file = static_cast<std::uint32_t>(catalog.files.size() - 1);
    info.offset = base::Bytes{offset};
    info.bytes = base::Bytes{tensor.bytes.size()};
    catalog.tensors.push_back(info);
    std::string text(tensor.bytes.size(), '\0');
    if (!text.empty()) std::memcpy(text.data(), tensor.bytes.data(), text.size());
    file << text;
    offset += text.size();
  }
  close();
  return catalog;
}

}  // namespace mpimerge::test
