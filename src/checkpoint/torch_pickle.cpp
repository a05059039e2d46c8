#include "checkpoint/torch_pickle.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "mpimerge/base/checked.hpp"
#include "mpimerge/base/narrow.hpp"

#include "checkpoint/pickle_machine.hpp"
#include "checkpoint/refuse.hpp"
#include "checkpoint/tensor_rules.hpp"

namespace mpimerge::checkpoint {
namespace {

using base::Dtype;

// What an Object is; its number is a Dtype, a position in storages_ or tensors_, or nothing.
enum class Kind : std::uint32_t {
  ordered_dict,
  rebuild_tensor,          // from a storage that has a type
  rebuild_tensor_of_type,  // from one that has none
  rebuild_parameter,
  rebuild_parameter_with_state,
  typed_storage,
  untyped_storage,
  dtype,
  storage,
  tensor,
};

struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  Kind kind;
  Dtype dtype = {};
};

// Everything that torch.save writes for dense tensors, and nothing else.
constexpr KnownGlobal kKnownGlobals[] = {
    {"collections", "OrderedDict", Kind::ordered_dict},
    {"torch._utils", "_rebuild_tensor_v2", Kind::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v3", Kind::rebuild_tensor_of_type},
    {"torch._utils", "_rebuild_parameter", Kind::rebuild_parameter},
    {"torch._utils", "_rebuild_parameter_with_state", Kind::rebuild_parameter_with_state},
    {"torch.storage", "UntypedStorage", Kind::untyped_storage},
    {"torch", "DoubleStorage", Kind::typed_storage, Dtype::f64},
    {"torch", "FloatStorage", Kind::typed_storage, Dtype::f32},
    {"torch", "HalfStorage", Kind::typed_storage, Dtype::f16},
    {"torch", "BFloat16Storage", Kind::typed_storage, Dtype::bf16},
    {"torch", "LongStorage", Kind::typed_storage, Dtype::i64},
    {"torch", "IntStorage", Kind::typed_storage, Dtype::i32},
    {"torch", "ShortStorage", Kind::typed_storage, Dtype::i16},
    {"torch", "CharStorage", Kind::typed_storage, Dtype::i8},
    {"torch", "ByteStorage", Kind::typed_storage, Dtype::u8},
    {"torch", "BoolStorage", Kind::typed_storage, Dtype::boolean},
    {"torch", "float8_e4m3fn", Kind::dtype, Dtype::f8_e4m3},
    {"torch", "float8_e5m2", Kind::dtype, Dtype::f8_e5m2},
    {"torch", "uint64", Kind::dtype, Dtype::u64},
    {"torch", "uint32", Kind::dtype, Dtype::u32},
    {"torch", "uint16", Kind::dtype, Dtype::u16},
};

constexpr auto kRemedy = "Save the model's state dict alone, or convert the model to safetensors";

bool is_utf8(std::string_view text) {
  try {
    return nlohmann::json(text).dump(), true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

// Row-major without gaps; what the stride of a single row or column is does not matter.
bool are_contiguous(const std::vector<std::uint64_t>& shape,
                    const std::vector<std::uint64_t>& strides) {
  std::uint64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;
    if (strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

class TorchPickle final : public PickleMachine {
 public:
  TorchPickle(std::string_view pickle, const std::filesystem::path& file)
      : PickleMachine(pickle, file) {}

  std::vector<TorchTensor> read();

 private:
  struct Storage {
    Text key;
    std::optional<Dtype> dtype;  // nothing: its elements are bytes
    std::uint64_t elements;
  };

  // As the pickle has it; looked at when its name is known.
  struct Tensor {
    Storage storage;
    Dtype dtype;
    std::int64_t offset;
    Tuple shape;
    Tuple strides;
    bool is_plain;  // not a conjugate or negative view of what is stored
  };

  Value global(std::string_view module, std::string_view name) override;
  Value call(const Value& function, Tuple arguments) override;
  Value persistent(const Value& id) override;

  static Value object(Kind kind, std::size_t number = 0) {
    return Object{static_cast<std::uint32_t>(kind), base::narrow<std::uint32_t>(number)};
  }
  static const Object* as(Kind kind, const Value& value);
  Tensor tensor_of(std::span<const Value> arguments, bool of_type) const;
  TorchTensor checked(std::string_view name, const Tensor& tensor) const;
  std::vector<std::uint64_t> dimensions(std::string_view name, Tuple tuple) const;

  template <class... Args>
  [[noreturn]] void refuse_tensor(std::string_view name, fmt::format_string<Args...> text,
                                  Args&&... args) const {
    refuse(file(), "tensor {}: {}", in_quotes(name),
           fmt::format(text, std::forward<Args>(args)...));
  }

  std::vector<Storage> storages_;
  std::vector<Tensor> tensors_;
};

std::vector<TorchTensor> TorchPickle::read() {
  const Value root = run();
  const auto* const dict = std::get_if<Dict>(&root);
  if (dict == nullptr) {
    refuse(file(), "holds {}, expected a dictionary of tensors. {}",
           as(Kind::tensor, root) != nullptr ? "a single tensor" : describe(root), kRemedy);
  }
  const auto all = items(*dict);
  for (const auto& [key, value] : all) {
    if (!std::holds_alternative<Text>(key)) {
      refuse(file(), "a key of its dictionary is {}, expected a string", describe(key));
    }
  }
  const auto name_of = [&](const Item& item) { return text(std::get<Text>(item.first)); };
  const auto inner = std::ranges::find_if(
      all, [](const Item& item) { return std::holds_alternative<Dict>(item.second); });
  if (inner != all.end()) {
    refuse(file(),
           "key {} holds a dictionary, expected tensors only; save that dictionary alone, as in "
           "torch.save(torch.load(FILE)[KEY], NEW_FILE)",
           in_quotes(name_of(*inner)));
  }
  std::vector<TorchTensor> tensors;
  for (const Item& item : all) {
    const auto name = name_of(item);
    const Object* const tensor = as(Kind::tensor, item.second);
    if (tensor == nullptr) {
      refuse(file(), "key {} holds {}, expected tensors only. {}", in_quotes(name),
             describe(item.second), kRemedy);
    }
    check_tensor_name(name, file());
    if (!is_utf8(name)) refuse_tensor(name, "its name is not UTF-8");
    tensors.push_back(checked(name, tensors_[tensor->number]));
  }
  return tensors;
}

PickleMachine::Value TorchPickle::global(std::string_view module, std::string_view name) {
  const auto known = std::ranges::find_if(kKnownGlobals, [&](const KnownGlobal& each) {
    return each.module == module && each.name == name;
  });
  if (known == std::end(kKnownGlobals)) {
    refuse_step(
        "asks for {}, which no dense tensor of a type that mpimerge knows needs; nothing was "
        "executed. {}",
        in_quotes(fmt::format("{}.{}", module, name)), kRemedy);
  }
  return object(known->kind, static_cast<std::size_t>(known->dtype));
}

PickleMachine::Value TorchPickle::call(const Value& function, Tuple arguments) {
  const auto given = elements(arguments);
  if (as(Kind::ordered_dict, function) != nullptr && given.empty()) return new_dict();
  const bool of_type = as(Kind::rebuild_tensor_of_type, function) != nullptr;
  if (of_type || as(Kind::rebuild_tensor, function) != nullptr) {
    tensors_.push_back(tensor_of(given, of_type));
    return object(Kind::tensor, tensors_.size() - 1);
  }
  const bool with_state = as(Kind::rebuild_parameter_with_state, function) != nullptr;
  if (with_state || as(Kind::rebuild_parameter, function) != nullptr) {
    // The tensor, whether it is trained, hooks, attributes.
    if (given.size() == (with_state ? 4 : 3) && as(Kind::tensor, given[0]) != nullptr) {
      return given[0];
    }
  }
  refuse_step("a call that torch.save does not write; nothing was executed");
}

PickleMachine::Value TorchPickle::persistent(const Value& id) {
  // "storage", its class, its key, the device on which it was, its length.
  const auto* const tuple = std::get_if<Tuple>(&id);
  const auto parts = tuple == nullptr ? std::span<const Value>() : elements(*tuple);
  if (parts.size() == 5) {
    const auto* const what = std::get_if<Text>(&parts[0]);
    const Object* const typed = as(Kind::typed_storage, parts[1]);
    const bool untyped = as(Kind::untyped_storage, parts[1]) != nullptr;
    const auto* const key = std::get_if<Text>(&parts[2]);
    const auto* const length = std::get_if<std::int64_t>(&parts[4]);
    if (what != nullptr && text(*what) == "storage" && (typed != nullptr || untyped) &&
        key != nullptr && length != nullptr && *length >= 0) {
      storages_.push_back({*key, std::nullopt, static_cast<std::uint64_t>(*length)});
      if (typed != nullptr) storages_.back().dtype = static_cast<Dtype>(typed->number);
      return object(Kind::storage, storages_.size() - 1);
    }
  }
  refuse_step("a reference to something outside the pickle, but not to a storage");
}

const PickleMachine::Object* TorchPickle::as(Kind kind, const Value& value) {
  const auto* const object = std::get_if<Object>(&value);
  return object != nullptr && object->kind == static_cast<std::uint32_t>(kind) ? object : nullptr;
}

// Storage, offset, size, strides, whether it is trained, hooks; the type, if the storage has none;
// what is special about the view, if anything is.
TorchPickle::Tensor TorchPickle::tensor_of(std::span<const Value> given, bool of_type) const {
  const std::size_t least = of_type ? 7 : 6;
  if (given.size() == least || given.size() == least + 1) {
    const Object* const storage = as(Kind::storage, given[0]);
    const auto* const offset = std::get_if<std::int64_t>(&given[1]);
    const auto* const shape = std::get_if<Tuple>(&given[2]);
    const auto* const strides = std::get_if<Tuple>(&given[3]);
    const Object* const type = of_type ? as(Kind::dtype, given[6]) : nullptr;
    const Dict* const special = given.size() > least ? std::get_if<Dict>(&given[least]) : nullptr;
    if (storage != nullptr && storages_[storage->number].dtype.has_value() != of_type &&
        offset != nullptr && shape != nullptr && strides != nullptr &&
        (type != nullptr) == of_type && (special != nullptr) == (given.size() > least)) {
      const Storage& from = storages_[storage->number];
      return {.storage = from,
              .dtype = of_type ? static_cast<Dtype>(type->number) : *from.dtype,
              .offset = *offset,
              .shape = *shape,
              .strides = *strides,
              .is_plain = special == nullptr || is_empty(*special)};
    }
  }
  refuse_step("a tensor from other values than torch.save writes");
}

TorchTensor TorchPickle::checked(std::string_view name, const Tensor& tensor) const {
  const auto shape = dimensions(name, tensor.shape);
  const auto strides = dimensions(name, tensor.strides);
  if (shape.size() != strides.size() || tensor.offset < 0) {
    refuse_tensor(name, "shape {}, strides {} and offset {} do not fit together", shape_text(shape),
                  shape_text(strides), tensor.offset);
  }
  if (!tensor.is_plain) {
    refuse_tensor(name,
                  "is the negative or conjugate of what is stored; save it with "
                  ".resolve_neg().resolve_conj()");
  }
  const std::uint64_t width = base::element_bytes(tensor.dtype).value();
  const auto elements = count_elements(shape);
  const auto bytes = base::checked_multiply(elements.value_or(0), width);
  if (!elements || !bytes) {
    refuse_tensor(name, "the size of shape {} of {} overflows 64 bits", shape_text(shape),
                  base::name(tensor.dtype));
  }
  if (*elements > 0 && !are_contiguous(shape, strides)) {
    refuse_tensor(
        name,
        "is not contiguous (shape {}, strides {}); save it with .contiguous(), or convert "
        "the model to safetensors",
        shape_text(shape), shape_text(strides));
  }
  const auto storage_bytes =
      base::checked_multiply(tensor.storage.elements, tensor.storage.dtype ? width : 1);
  // An empty tensor may be anywhere.
  const auto offset =
      *elements == 0 ? 0 : base::checked_multiply(static_cast<std::uint64_t>(tensor.offset), width);
  const auto end = base::checked_add(offset.value_or(0), *bytes);
  if (!storage_bytes || !offset || !end || *end > *storage_bytes) {
    refuse_tensor(name, "{} elements of {} from element {} on leave its storage, which has {}",
                  *elements, base::name(tensor.dtype), tensor.offset, tensor.storage.elements);
  }
  return {.name = std::string(name),
          .dtype = tensor.dtype,
          .shape = shape,
          .elements = base::Elements{*elements},
          .storage = std::string(text(tensor.storage.key)),
          .storage_bytes = base::Bytes{*storage_bytes},
          .offset = base::Bytes{*offset},
          .bytes = base::Bytes{*bytes}};
}

std::vector<std::uint64_t> TorchPickle::dimensions(std::string_view name, Tuple tuple) const {
  if (tuple.count > kMaxDimensions) {
    refuse_tensor(name, "has {} dimensions, expected at most {}", tuple.count, kMaxDimensions);
  }
  std::vector<std::uint64_t> numbers;
  for (const Value& value : elements(tuple)) {
    const auto* const number = std::get_if<std::int64_t>(&value);
    if (number == nullptr || *number < 0) {
      refuse_tensor(name, "a dimension or stride is {}, expected an integer from 0 to 2^63 - 1",
                    number == nullptr ? std::string(describe(value)) : std::to_string(*number));
    }
    numbers.push_back(static_cast<std::uint64_t>(*number));
  }
  return numbers;
}

}  // namespace

std::vector<TorchTensor> parse_torch_pickle(std::string_view pickle,
                                            const std::filesystem::path& file) {
  return TorchPickle(pickle, file).read();
}

}  // namespace mpimerge::checkpoint
