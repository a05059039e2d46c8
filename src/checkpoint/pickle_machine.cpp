#include "checkpoint/pickle_machine.hpp"

#include <array>

#include "mpimerge/base/narrow.hpp"

namespace mpimerge::checkpoint {
namespace {

constexpr std::uint8_t kProto = 0x80;
constexpr unsigned kProtocol = 2;
constexpr std::uint8_t kStop = '.';

// Those of protocol 2 that describe data; Python's pickletools tells what each does.
enum class Opcode : std::uint8_t {
  append = 'a',
  appends = 'e',
  binfloat = 'G',
  binget = 'h',
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  binpersid = 'Q',
  binput = 'q',
  binunicode = 'X',
  build = 'b',
  empty_dict = '}',
  empty_list = ']',
  empty_tuple = ')',
  global = 'c',
  long1 = 0x8a,
  long_binget = 'j',
  long_binput = 'r',
  mark = '(',
  newfalse = 0x89,
  newtrue = 0x88,
  none = 'N',
  reduce = 'R',
  setitem = 's',
  setitems = 'u',
  tuple = 't',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
};

}  // namespace

PickleMachine::Value PickleMachine::run() {
  const auto first = cursor_.number<std::uint8_t>();
  const unsigned protocol = cursor_.number<std::uint8_t>();
  if (first != kProto || protocol != kProtocol) {
    refuse_step(
        "begins with {:#04x} {:#04x}, expected {:#04x} {:#04x}, a pickle of protocol {}; save it "
        "with torch.save's own pickle_protocol",
        first, protocol, kProto, kProtocol, kProtocol);
  }
  for (std::uint64_t steps = 0; steps < kMaxPickleSteps; ++steps) {
    step_ = cursor_.at();
    const auto opcode = cursor_.number<std::uint8_t>();
    if (opcode != kStop) {
      take_step(opcode);
      continue;
    }
    const Value result = pop();
    if (!stack_.empty() || !marks_.empty() || !cursor_.done()) {
      refuse_step("the pickle ends here, but values or bytes are left");
    }
    return result;
  }
  refuse_step("more than {} steps; is it a dictionary of tensors?", kMaxPickleSteps);
}

void PickleMachine::take_step(std::uint8_t opcode) {
  switch (static_cast<Opcode>(opcode)) {
    case Opcode::none: stack_.emplace_back(None{}); return;
    case Opcode::newtrue: stack_.emplace_back(true); return;
    case Opcode::newfalse: stack_.emplace_back(false); return;
    case Opcode::binint: {
      const auto bits = cursor_.number<std::uint32_t>();
      stack_.emplace_back(std::int64_t{static_cast<std::int32_t>(bits)});
      return;
    }
    case Opcode::binint1: stack_.emplace_back(std::int64_t{cursor_.number<std::uint8_t>()}); return;
    case Opcode::binint2:
      stack_.emplace_back(std::int64_t{cursor_.number<std::uint16_t>()});
      return;
    case Opcode::long1: push_integer(cursor_.take(cursor_.number<std::uint8_t>())); return;
    case Opcode::binfloat:
      cursor_.take(sizeof(double));
      stack_.emplace_back(Number{});
      return;
    case Opcode::binunicode: {
      const auto bytes = cursor_.number<std::uint32_t>();
      const auto begin = base::narrow<std::uint32_t>(cursor_.at());
      cursor_.take(bytes);
      stack_.emplace_back(Text{begin, bytes});
      return;
    }
    case Opcode::mark: marks_.push_back(stack_.size()); return;
    case Opcode::empty_tuple: push_tuple({}); return;
    case Opcode::tuple1: push_tuple(pop(1)); return;
    case Opcode::tuple2: push_tuple(pop(2)); return;
    case Opcode::tuple3: push_tuple(pop(3)); return;
    case Opcode::tuple: push_tuple(pop_to_mark()); return;
    case Opcode::empty_list: stack_.emplace_back(List{}); return;
    case Opcode::append:
      pop();
      append();
      return;
    case Opcode::appends:
      pop_to_mark();
      append();
      return;
    case Opcode::empty_dict: stack_.emplace_back(new_dict()); return;
    case Opcode::setitem: {
      const auto item = pop(2);
      set_item(item[0], item[1]);
      return;
    }
    case Opcode::setitems: {
      const auto items = pop_to_mark();
      if (items.size() % 2 != 0) refuse_step("a key without a value");
      for (std::size_t i = 0; i < items.size(); i += 2) set_item(items[i], items[i + 1]);
      return;
    }
    case Opcode::binput: memoise(cursor_.number<std::uint8_t>()); return;
    case Opcode::long_binput: memoise(cursor_.number<std::uint32_t>()); return;
    case Opcode::binget: recall(cursor_.number<std::uint8_t>()); return;
    case Opcode::long_binget: recall(cursor_.number<std::uint32_t>()); return;
    case Opcode::global: {
      const auto module = cursor_.line();
      stack_.push_back(global(module, cursor_.line()));
      return;
    }
    case Opcode::reduce: {
      const auto parts = pop(2);
      if (!std::holds_alternative<Tuple>(parts[1])) {
        refuse_step("a call with {}, expected a tuple", describe(parts[1]));
      }
      stack_.push_back(call(parts[0], std::get<Tuple>(parts[1])));
      return;
    }
    case Opcode::build:
      // Attributes of a dictionary, such as `_metadata` of a state dict: no tensor depends on them.
      pop();
      if (!std::holds_alternative<Dict>(top())) {
        refuse_step("attributes for {}, expected a dictionary", describe(top()));
      }
      return;
    case Opcode::binpersid: stack_.push_back(persistent(pop())); return;
    default: break;
  }
  refuse_step("opcode {:#04x}, which torch.save does not write for tensors; nothing was executed",
              opcode);
}

PickleMachine::Dict PickleMachine::new_dict() {
  item_counts_.push_back(0);
  return {base::narrow<std::uint32_t>(item_counts_.size() - 1)};
}

std::vector<PickleMachine::Item> PickleMachine::items(Dict dict) const {
  std::vector<Item> found;
  for (const auto& [number, item] : items_) {
    if (number == dict.number) found.push_back(item);
  }
  return found;
}

std::string_view PickleMachine::describe(const Value& value) {
  constexpr std::array<std::string_view, std::variant_size_v<Value>> kKinds{
      "None",    "True or False", "an integer",   "a number", "a string",
      "a tuple", "a list",        "a dictionary", "an object"};
  return kKinds.at(value.index());
}

// Values below a mark belong to what was begun before it.
void PickleMachine::check_not_below_mark(std::size_t count) const {
  if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < count) {
    refuse_step("a step without the {} values that it works on", count);
  }
}

PickleMachine::Value& PickleMachine::top() {
  check_not_below_mark(1);
  return stack_.back();
}

PickleMachine::Value PickleMachine::pop() {
  const Value value = top();
  stack_.pop_back();
  return value;
}

std::vector<PickleMachine::Value> PickleMachine::pop(std::size_t count) {
  check_not_below_mark(count);
  const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<Value> values(first, stack_.end());
  stack_.erase(first, stack_.end());
  return values;
}

std::vector<PickleMachine::Value> PickleMachine::pop_to_mark() {
  if (marks_.empty()) refuse_step("a step without the mark up to which it works");
  auto values = pop(stack_.size() - marks_.back());
  marks_.pop_back();
  return values;
}

void PickleMachine::push_tuple(std::span<const Value> values) {
  const auto begin = base::narrow<std::uint32_t>(elements_.size());
  elements_.insert(elements_.end(), values.begin(), values.end());
  stack_.emplace_back(Tuple{begin, base::narrow<std::uint32_t>(values.size())});
}

// Two's complement of any length.
void PickleMachine::push_integer(std::string_view bytes) {
  if (bytes.size() > sizeof(std::int64_t)) {
    stack_.emplace_back(Number{});
    return;
  }
  const std::uint64_t bits = little_endian(bytes);
  const unsigned unused = 64 - 8 * base::narrow<unsigned>(bytes.size());
  // The shift to the right fills in copies of the sign.
  stack_.emplace_back(bytes.empty() ? 0 : static_cast<std::int64_t>(bits << unused) >> unused);
}

void PickleMachine::append() {
  if (!std::holds_alternative<List>(top())) {
    refuse_step("an element for {}, expected a list", describe(top()));
  }
}

void PickleMachine::set_item(const Value& key, const Value& value) {
  const auto* const dict = std::get_if<Dict>(&top());
  if (dict == nullptr) refuse_step("a key for {}, expected a dictionary", describe(top()));
  ++item_counts_[dict->number];
  items_.emplace_back(dict->number, Item(key, value));
}

// Every pickler numbers its memo without gaps, so a memo is never larger than the steps before it.
void PickleMachine::memoise(std::uint64_t number) {
  if (number > memo_.size()) {
    refuse_step("memo number {}, expected at most {}", number, memo_.size());
  }
  const Value value = top();
  if (number == memo_.size()) {
    memo_.push_back(value);
  } else {
    memo_[number] = value;
  }
}

void PickleMachine::recall(std::uint64_t number) {
  if (number >= memo_.size()) {
    refuse_step("memo number {}, but only {} were filled", number, memo_.size());
  }
  stack_.push_back(memo_[number]);
}

}  // namespace mpimerge::checkpoint
