#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/make_file.hpp"
#include "checkpoint/make_pickle.hpp"
#include "checkpoint/pickle_machine.hpp"
#include "checkpoint/tensor_rules.hpp"
#include "checkpoint/torch_pickle.hpp"

namespace mpimerge::checkpoint {
namespace {

using base::Bytes;
using base::Dtype;
using base::Elements;
using test::input_error;
using test::little_endian;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Shape = std::vector<std::uint64_t>;

namespace pickle = test::pickle;

// What the opcode's number is, as a text of one byte.
std::string opcode(int number) { return std::string(1, static_cast<char>(number)); }

std::vector<TorchTensor> parse(const std::string& body) {
  return parse_torch_pickle(pickle::whole(body), "m.pt");
}

// Of a dictionary with one tensor, `w`.
TorchTensor parse_one(const std::string& tensor) {
  const auto tensors = parse(pickle::dict({{"w", tensor}}));
  if (tensors.size() == 1) return tensors.front();
  ADD_FAILURE() << tensors.size() << " tensors";
  return {};
}

std::string error_of_bytes(const std::string& bytes) {
  std::string text = input_error([&] { parse_torch_pickle(bytes, "m.pt"); });
  EXPECT_THAT(text, StartsWith("m.pt: "));
  return text;
}

std::string error_of(const std::string& body) { return error_of_bytes(pickle::whole(body)); }

std::string error_of_one(const std::string& tensor) {
  return error_of(pickle::dict({{"w", tensor}}));
}

std::string repeat(std::string_view part, std::size_t times) {
  std::string all;
  all.reserve(part.size() * times);
  for (std::size_t i = 0; i < times; ++i) all += part;
  return all;
}

TEST(TorchPickle, ReadsATensor) {
  const auto tensor = parse_one(pickle::tensor(pickle::storage(10), {2, 3}, {3, 1}, 4));

  EXPECT_EQ(tensor.name, "w");
  EXPECT_EQ(tensor.dtype, Dtype::f32);
  EXPECT_EQ(tensor.shape, (Shape{2, 3}));
  EXPECT_EQ(tensor.elements, Elements{6});
  EXPECT_EQ(tensor.storage, "0");
  EXPECT_EQ(tensor.storage_bytes, Bytes{40});
  EXPECT_EQ(tensor.offset, Bytes{16});
  EXPECT_EQ(tensor.bytes, Bytes{24});
}

TEST(TorchPickle, KnowsTheTypesOfStorages) {
  const std::vector<std::pair<std::string, Dtype>> types = {
      {"DoubleStorage", Dtype::f64},    {"FloatStorage", Dtype::f32}, {"HalfStorage", Dtype::f16},
      {"BFloat16Storage", Dtype::bf16}, {"LongStorage", Dtype::i64},  {"IntStorage", Dtype::i32},
      {"ShortStorage", Dtype::i16},     {"CharStorage", Dtype::i8},   {"ByteStorage", Dtype::u8},
      {"BoolStorage", Dtype::boolean}};
  for (const auto& [name, dtype] : types) {
    SCOPED_TRACE(name);
    const auto storage = pickle::storage(3, pickle::global("torch", name));
    const auto tensor = parse_one(pickle::tensor(storage, {3}, {1}));
    EXPECT_EQ(tensor.dtype, dtype);
    EXPECT_EQ(tensor.storage_bytes.value(), 3 * base::element_bytes(dtype).value());
  }
}

// As torch writes types for which it has no class of storages.
std::string tensor_of_type(const std::string& type, std::int64_t storage_bytes,
                           const std::string& storage_class = pickle::global("torch.storage",
                                                                             "UntypedStorage")) {
  return pickle::call(
      pickle::global("torch._utils", "_rebuild_tensor_v3"),
      {pickle::storage(storage_bytes, storage_class), pickle::integer(1), pickle::integers({2}),
       pickle::integers({1}), opcode(0x89), pickle::ordered_dict(), type});
}

TEST(TorchPickle, KnowsTheTypesWithoutStorages) {
  const std::vector<std::pair<std::string, Dtype>> types = {{"float8_e4m3fn", Dtype::f8_e4m3},
                                                            {"float8_e5m2", Dtype::f8_e5m2},
                                                            {"uint16", Dtype::u16},
                                                            {"uint32", Dtype::u32},
                                                            {"uint64", Dtype::u64}};
  for (const auto& [name, dtype] : types) {
    SCOPED_TRACE(name);
    const auto width = base::element_bytes(dtype).value();
    const auto bytes = static_cast<std::int64_t>(3 * width);
    const auto tensor = parse_one(tensor_of_type(pickle::global("torch", name), bytes));
    EXPECT_EQ(tensor.dtype, dtype);
    EXPECT_EQ(tensor.storage_bytes, Bytes{3 * width}) << "the length is in bytes";
    EXPECT_EQ(tensor.offset, Bytes{width});
    EXPECT_THAT(error_of_one(tensor_of_type(pickle::global("torch", name), bytes - 1)),
                HasSubstr("leave its storage"));
  }
  const auto typed = pickle::global("torch", "FloatStorage");
  EXPECT_THAT(error_of_one(tensor_of_type(pickle::global("torch", "uint16"), 6, typed)),
              HasSubstr("from other values than torch.save writes"));
  EXPECT_THAT(error_of_one(tensor_of_type(typed, 6)),
              HasSubstr("from other values than torch.save writes"));
}

TEST(TorchPickle, ReadsParameters) {
  const auto data = pickle::vector(3);
  const auto plain = pickle::call(pickle::global("torch._utils", "_rebuild_parameter"),
                                  {data, opcode(0x88), pickle::ordered_dict()});
  const auto with_state = pickle::call(
      pickle::global("torch._utils", "_rebuild_parameter_with_state"),
      {data, opcode(0x88), pickle::ordered_dict(), pickle::dict({{"tag", pickle::text("x")}})});

  EXPECT_EQ(parse_one(plain).elements, Elements{3});
  EXPECT_EQ(parse_one(with_state).elements, Elements{3});
  EXPECT_THAT(error_of_one(pickle::call(pickle::global("torch._utils", "_rebuild_parameter"),
                                        {"N", opcode(0x88), pickle::ordered_dict()})),
              HasSubstr("a call that torch.save does not write"));
  EXPECT_THAT(error_of_one(pickle::call(pickle::global("torch._utils", "_rebuild_parameter"),
                                        {data, opcode(0x88)})),
              HasSubstr("a call that torch.save does not write"));
}

TEST(TorchPickle, TakesEveryKindOfDictionary) {
  const auto item = pickle::text("w") + pickle::vector(3);
  const std::string attributes =
      pickle::dict({{"_metadata", pickle::dict({{"", "}" + pickle::text("version") + "K\1s"}})}});

  EXPECT_EQ(parse("}" + item + "s").size(), 1U);
  EXPECT_EQ(parse(pickle::ordered_dict() + "(" + item + "u").size(), 1U);
  EXPECT_EQ(parse(pickle::ordered_dict() + "(" + item + "u" + attributes + "b").size(), 1U);
  EXPECT_THAT(parse("}"), IsEmpty());
}

TEST(TorchPickle, KeepsTheOrderAndSharedStorages) {
  const auto storage = pickle::storage(6) + "q" + opcode(0);
  const std::string again = "h" + opcode(0);
  const auto tensors = parse(pickle::dict({{"z", pickle::tensor(storage, {6}, {1})},
                                           {"a", pickle::tensor(again, {2, 3}, {3, 1})},
                                           {"m", pickle::tensor(again, {2}, {1}, 4)}}));
  ASSERT_EQ(tensors.size(), 3U);
  EXPECT_EQ(tensors[0].name, "z");
  EXPECT_EQ(tensors[1].name, "a");
  EXPECT_EQ(tensors[2].name, "m");
  EXPECT_EQ(tensors[2].storage, "0");
  EXPECT_EQ(tensors[2].offset, Bytes{16});
}

TEST(TorchPickle, TakesOneTensorUnderTwoNames) {
  const auto tensors =
      parse(pickle::dict({{"a", pickle::vector(3) + "q" + opcode(0)}, {"b", "h" + opcode(0)}}));
  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_EQ(tensors[0].offset, tensors[1].offset);
}

TEST(TorchPickle, ReadsIntegersOfEveryLength) {
  const auto elements_of = [](const std::string& length) {
    const auto storage =
        pickle::tuple({pickle::text("storage"), pickle::global("torch", "ByteStorage"),
                       pickle::text("0"), pickle::text("cpu"), length}) +
        "Q";
    return parse_one(pickle::tensor(storage, {0}, {1})).storage_bytes.value();
  };
  EXPECT_EQ(elements_of("K\xff"), 255U);
  EXPECT_EQ(elements_of("M\xff\xff"), 65535U);
  EXPECT_EQ(elements_of("J\xff\xff\xff\x7f"), 0x7fffffffU);
  EXPECT_EQ(elements_of(opcode(0x8a) + opcode(0)), 0U);
  EXPECT_EQ(elements_of(opcode(0x8a) + "\1\x7f"), 127U);
  EXPECT_EQ(elements_of(opcode(0x8a) + "\3\1\2\3"), 0x030201U);
  EXPECT_EQ(elements_of(opcode(0x8a) + "\5\xff\xff\xff\xff" + opcode(0)), 0xffffffffU);
  EXPECT_EQ(elements_of(opcode(0x8a) + "\10" + repeat("\xff", 7) + "\x7f"), (1ULL << 63) - 1);
}

TEST(TorchPickle, TellsNegativeIntegersAndLargerOnes) {
  const auto tensor_at = [](const std::string& offset) {
    return pickle::call(pickle::kRebuild,
                        {pickle::storage(3), offset, pickle::integers({3}), pickle::integers({1}),
                         opcode(0x89), pickle::ordered_dict()});
  };
  EXPECT_THAT(error_of_one(tensor_at("J\xff\xff\xff\xff")), HasSubstr("offset -1 do not fit"));
  EXPECT_THAT(error_of_one(tensor_at(opcode(0x8a) + "\1\x80")),
              HasSubstr("offset -128 do not fit"));
  EXPECT_THAT(error_of_one(tensor_at(opcode(0x8a) + "\2" + opcode(0) + "\x80")),
              HasSubstr("offset -32768 do not fit"));
  EXPECT_THAT(error_of_one(tensor_at(opcode(0x8a) + "\11" + std::string(9, '\0'))),
              HasSubstr("from other values than torch.save writes"));
}

TEST(TorchPickle, RefusesEveryOtherGlobalByItsName) {
  const std::vector<std::pair<std::string, std::string>> globals = {
      {"os", "system"},
      {"posix", "system"},
      {"nt", "system"},
      {"subprocess", "Popen"},
      {"builtins", "eval"},
      {"builtins", "exec"},
      {"builtins", "getattr"},
      {"__builtin__", "eval"},
      {"__builtin__", "set"},
      {"importlib", "import_module"},
      {"pickle", "loads"},
      {"torch", "load"},
      {"torch", "hub.load"},
      {"torch.jit", "load"},
      {"torch._utils", "_rebuild_tensor_v2.__globals__"},
      {"torch._utils", "_rebuild_qtensor"},
      {"torch._utils", "_rebuild_sparse_tensor"},
      {"torch._tensor", "_rebuild_from_type_v2"},
      {"torch", "ComplexFloatStorage"},
      {"torch", "QInt8Storage"},
      {"torch", "float8_e8m0fnu"},
      {"torch.nn.modules.linear", "Linear"},
      {"collections", "defaultdict"},
      {"collections", "OrderedDict.fromkeys"},
      {"collections.OrderedDict", ""},
      {"", "OrderedDict"},
      {"", ""},
  };
  for (const auto& [module, name] : globals) {
    const std::string full = "asks for `" + module + "." + name + "`, which";
    EXPECT_THAT(error_of(pickle::global(module, name)),
                AllOf(HasSubstr("byte 2"), HasSubstr(full)));
    EXPECT_THAT(error_of(pickle::dict(
                    {{"w", pickle::call(pickle::global(module, name), {pickle::text("id")})}})),
                AllOf(HasSubstr(full), HasSubstr("nothing was executed")));
  }
  EXPECT_THAT(error_of(pickle::global("os\x1b[2J", "sys\ttem")),
              HasSubstr("`os\\x1b[2J.sys\\x09tem`"));
  EXPECT_THAT(error_of(pickle::global(std::string(100'000, 'm'), "n")), HasSubstr("mmm..."));
}

TEST(TorchPickle, RefusesEveryOtherOpcode) {
  // All that the machine knows stands here; pickletools names the others.
  const std::string known = "()N.GJKMQRX]abceh}jqrstu\x85\x86\x87\x88\x89\x8a";
  int refused = 0;
  for (int number = 0; number < 256; ++number) {
    if (known.find(static_cast<char>(number)) != std::string::npos) continue;
    ++refused;
    EXPECT_THAT(
        error_of(opcode(number) + "more"),
        HasSubstr(fmt::format("data.pkl, byte 2: opcode {:#04x}, which torch.save", number)));
  }
  EXPECT_EQ(refused, 256 - 30);
}

TEST(TorchPickle, RefusesOtherProtocols) {
  EXPECT_THAT(error_of_bytes("\x80\x04}."), HasSubstr("begins with 0x80 0x04, expected 0x80 0x02"));
  EXPECT_THAT(error_of_bytes("(dp0\n."), HasSubstr("begins with 0x28 0x64"));
  EXPECT_THAT(error_of_bytes("\x80\x02\x80\x02}."), HasSubstr("byte 2: opcode 0x80"));
}

TEST(TorchPickle, RefusesStepsWithoutWhatTheyWorkOn) {
  const std::string zero = opcode(0);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "without the 1 values"},
      {opcode(0x85), "without the 1 values"},
      {"N" + opcode(0x86), "without the 2 values"},
      {"NN" + opcode(0x87), "without the 3 values"},
      {"NNt", "without the mark"},
      {"}NNu", "without the mark"},
      {"]NNe", "without the mark"},
      {"a", "without the 1 values"},
      {"Na", "without the 1 values"},
      {"NNa", "an element for None, expected a list"},
      {"N(Ne", "an element for None, expected a list"},
      {"(Ne", "without the 1 values"},
      {"Ns", "without the 2 values"},
      {"NNs", "without the 1 values"},
      {"NNNs", "a key for None, expected a dictionary"},
      {"N(NNu", "a key for None, expected a dictionary"},
      {"}(Nu", "a key without a value"},
      {"(NNu", "without the 1 values"},
      {"R", "without the 2 values"},
      {"NNR", "a call with None, expected a tuple"},
      {"N)R", "a call that torch.save does not write"},
      {"b", "without the 1 values"},
      {"}b", "without the 1 values"},
      {"N}b", "attributes for None, expected a dictionary"},
      {")}b", "attributes for a tuple, expected a dictionary"},
      {"Q", "without the 1 values"},
      {"q" + zero, "without the 1 values"},
      {"h" + zero, "memo number 0, but only 0 were filled"},
      {"N(" + opcode(0x85), "without the 1 values"},
      {"N(q" + zero, "without the 1 values"},
      {"}((NNu", "without the 1 values"},
      {"}N", "values or bytes are left"},
      {"(}", "values or bytes are left"},
      {"}.", "values or bytes are left"},
  };
  for (const auto& [body, says] : cases) {
    SCOPED_TRACE(body);
    EXPECT_THAT(error_of(body), AllOf(HasSubstr("data.pkl, byte "), HasSubstr(says)));
  }
}

TEST(TorchPickle, RefusesAMemoWithGaps) {
  const std::string fill = "Nq" + opcode(0);
  EXPECT_THAT(error_of(fill + "q" + opcode(2)), HasSubstr("memo number 2, expected at most 1"));
  EXPECT_THAT(error_of(fill + "r\xff\xff\xff\xff"),
              HasSubstr("memo number 4294967295, expected at most 1"));
  EXPECT_THAT(error_of(fill + "h" + opcode(1)), HasSubstr("memo number 1, but only 1 were filled"));
  EXPECT_THAT(error_of(fill + "j\xff\xff\xff\xff"),
              HasSubstr("memo number 4294967295, but only 1"));
}

TEST(TorchPickle, AllowsAMemoThatIsWrittenAgain) {
  const std::string put = "q" + opcode(0);
  const auto tensors = parse(pickle::dict(
      {{"a", pickle::vector(3) + put}, {"b", pickle::vector(4) + put}, {"c", "h" + opcode(0)}}));
  ASSERT_EQ(tensors.size(), 3U);
  EXPECT_EQ(tensors[2].elements, Elements{4});
}

TEST(TorchPickle, TakesNoStackForNesting) {
  constexpr std::size_t kDeep = 3'000'000;
  EXPECT_THAT(error_of(")" + repeat(opcode(0x85), kDeep)),
              HasSubstr("holds a tuple, expected a dictionary"));
  EXPECT_THAT(error_of("]" + repeat("]a", kDeep)),
              HasSubstr("holds a list, expected a dictionary"));
  EXPECT_THAT(error_of(repeat("(", kDeep)), HasSubstr("without the 1 values"));
  EXPECT_THAT(error_of(repeat("}" + pickle::text("k"), kDeep / 3) + "}" + repeat("s", kDeep / 3)),
              HasSubstr("key `k` holds a dictionary"));
}

TEST(TorchPickle, EndsAfterTooManySteps) {
  const std::string bomb = repeat("}q" + opcode(0), kMaxPickleSteps / 2) + "N";
  EXPECT_THAT(error_of(bomb), HasSubstr("more than 10000000 steps"));
}

TEST(TorchPickle, HoldsADictionaryThatHoldsItself) {
  EXPECT_THAT(error_of("}q" + opcode(0) + pickle::text("me") + "h" + opcode(0) + "s"),
              HasSubstr("key `me` holds a dictionary"));
  EXPECT_THAT(error_of("]q" + opcode(0) + "h" + opcode(0) + "a"), HasSubstr("holds a list"));
}

TEST(TorchPickle, RefusesLengthsBeyondItsEnd) {
  const std::vector<std::string> cases = {"X\xff\xff\xff\xff",
                                          "X\xff\xff\xff\x7f",
                                          opcode(0x8a) + "\xff",
                                          "Gabc",
                                          "J\1",
                                          "M\1",
                                          "K",
                                          "cmodule\nname",
                                          "cmodule",
                                          "X\2",
                                          "h",
                                          "q",
                                          "r\1",
                                          "j\1"};
  for (const std::string& body : cases) {
    SCOPED_TRACE(body);
    EXPECT_THAT(error_of_bytes("\x80\x02" + body), HasSubstr("data.pkl ends"));
  }
}

TEST(TorchPickle, RefusesWhatIsNoDictionaryOfTensors) {
  const auto tensor = pickle::vector(3);
  EXPECT_THAT(error_of(tensor),
              HasSubstr("holds a single tensor, expected a dictionary of tensors"));
  EXPECT_THAT(error_of("](" + tensor + "e"), HasSubstr("holds a list"));
  EXPECT_THAT(error_of("N"), HasSubstr("holds None"));
  EXPECT_THAT(error_of(pickle::storage(3)), HasSubstr("holds an object"));
  EXPECT_THAT(error_of("}K\1" + tensor + "s"),
              HasSubstr("a key of its dictionary is an integer, expected a string"));
  EXPECT_THAT(error_of("}N" + tensor + "s"), HasSubstr("a key of its dictionary is None"));
  const std::vector<std::pair<std::string, std::string>> values = {
      {"N", "None"},
      {opcode(0x88), "True or False"},
      {"K\1", "an integer"},
      {"G" + std::string(8, '\0'), "a number"},
      {pickle::text("x"), "a string"},
      {")", "a tuple"},
      {"]", "a list"},
      {pickle::storage(3), "an object"},
      {pickle::global("collections", "OrderedDict"), "an object"},
      {pickle::global("torch", "uint16"), "an object"},
  };
  for (const auto& [value, kind] : values) {
    EXPECT_THAT(error_of(pickle::dict({{"w", tensor}, {"x", value}})),
                HasSubstr("key `x` holds " + kind + ", expected tensors only"));
  }
}

TEST(TorchPickle, NamesTheDictionaryInside) {
  const auto inner = pickle::dict({{"w", pickle::vector(3)}});
  for (const auto& dict : {inner, pickle::ordered_dict()}) {
    EXPECT_THAT(
        error_of(pickle::dict({{"epoch", "K\3"}, {"state_dict", dict}, {"optimizer", dict}})),
        AllOf(HasSubstr("key `state_dict` holds a dictionary"),
              HasSubstr("torch.load(FILE)[KEY]")));
  }
}

TEST(TorchPickle, RefusesNamesThatHdf5CannotHold) {
  const auto error_of_name = [](std::string_view name) {
    return error_of("}" + pickle::text(name) + pickle::vector(3) + "s");
  };
  EXPECT_THAT(error_of_name(""), HasSubstr("tensor ``: its name is empty"));
  EXPECT_THAT(error_of_name(std::string_view("a\0b", 3)), HasSubstr("holds a zero byte"));
  EXPECT_THAT(error_of_name("a\xff"), HasSubstr("its name is not UTF-8"));
  EXPECT_THAT(error_of_name("\xed\xa0\x80"), HasSubstr("its name is not UTF-8")) << "half a pair";
  EXPECT_THAT(parse("}" + pickle::text("θ😀") + pickle::vector(3) + "s").front().name, "θ😀");
}

TEST(TorchPickle, AcceptsWhatIsContiguous) {
  const auto storage = pickle::storage(24);
  EXPECT_EQ(parse_one(pickle::tensor(storage, {}, {})).elements, Elements{1});
  EXPECT_EQ(parse_one(pickle::tensor(storage, {2, 3, 4}, {12, 4, 1})).bytes, Bytes{96});
  EXPECT_EQ(parse_one(pickle::tensor(storage, {1, 4, 1}, {99, 1, 77})).bytes, Bytes{16});
  EXPECT_EQ(parse_one(pickle::tensor(storage, {1}, {0})).bytes, Bytes{4});
  for (const auto& shape : {pickle::Dimensions{0, 7}, {3, 0}}) {
    const auto empty = parse_one(pickle::tensor(storage, shape, {5, 5}, 1'000'000));
    EXPECT_EQ(empty.bytes, Bytes{0});
    EXPECT_EQ(empty.offset, Bytes{0}) << "wherever it was said to be";
  }
}

TEST(TorchPickle, RefusesWhatIsNotContiguous) {
  const auto storage = pickle::storage(24);
  const std::vector<std::pair<pickle::Dimensions, pickle::Dimensions>> cases = {
      {{3, 2}, {1, 3}},       {{3, 2}, {0, 1}}, {{3}, {2}},
      {{2, 1, 3}, {6, 3, 2}}, {{2, 3}, {4, 1}}, {{2}, {0}}};
  for (const auto& [shape, strides] : cases) {
    EXPECT_THAT(
        error_of_one(pickle::tensor(storage, shape, strides)),
        AllOf(HasSubstr("tensor `w`: is not contiguous (shape ["), HasSubstr(".contiguous()")));
  }
}

TEST(TorchPickle, RefusesViewsThatAreComputed) {
  const auto tensor_with = [](const std::string& special) {
    return pickle::call(pickle::kRebuild,
                        {pickle::storage(3), "K" + opcode(0), pickle::integers({3}),
                         pickle::integers({1}), opcode(0x89), pickle::ordered_dict(), special});
  };
  EXPECT_EQ(parse_one(tensor_with("}")).elements, Elements{3});
  EXPECT_THAT(error_of_one(tensor_with(pickle::dict({{"neg", opcode(0x88)}}))),
              HasSubstr("tensor `w`: is the negative or conjugate"));
  EXPECT_THAT(error_of_one(tensor_with("N")),
              HasSubstr("from other values than torch.save writes"));
}

TEST(TorchPickle, RefusesTensorsOutsideTheirStorage) {
  constexpr std::int64_t kMost = (1ULL << 63) - 1;
  struct Outside {
    std::int64_t elements;
    pickle::Dimensions shape, strides;
    std::int64_t offset;
  };
  const std::vector<Outside> cases = {
      {5, {6}, {1}, 0},     {6, {6}, {1}, 1},         {0, {}, {}, 0},
      {6, {6}, {1}, kMost}, {6, {6}, {1}, kMost / 4}, {kMost, {1}, {1}, 0},
  };
  for (const auto& [elements, shape, strides, offset] : cases) {
    EXPECT_THAT(error_of_one(pickle::tensor(pickle::storage(elements), shape, strides, offset)),
                HasSubstr("leave its storage, which has"));
  }
}

TEST(TorchPickle, RefusesShapesThatAreNone) {
  const auto storage = pickle::storage(6);
  constexpr std::int64_t kHalf = 1LL << 32;
  EXPECT_THAT(error_of_one(pickle::tensor(storage, {kHalf, kHalf}, {kHalf, 1})),
              HasSubstr("overflows 64 bits"));
  EXPECT_THAT(error_of_one(pickle::tensor(storage, {kHalf, kHalf, 0}, {1, 1, 1})),
              HasSubstr("overflows 64 bits"));
  EXPECT_THAT(error_of_one(pickle::tensor(storage, {1LL << 62}, {1})),
              HasSubstr("overflows 64 bits"));
  EXPECT_THAT(error_of_one(pickle::tensor(storage, {-6}, {1})),
              HasSubstr("a dimension or stride is -6"));
  EXPECT_THAT(error_of_one(pickle::tensor(storage, {6}, {-1})),
              HasSubstr("a dimension or stride is -1"));
  EXPECT_THAT(error_of_one(pickle::tensor(storage, {2, 3}, {1})),
              HasSubstr("shape [2, 3], strides [1] and"));
  const pickle::Dimensions ones(kMaxDimensions + 1, 1);
  EXPECT_THAT(error_of_one(pickle::tensor(storage, ones, ones)),
              HasSubstr("has 33 dimensions, expected at most 32"));
}

TEST(TorchPickle, RefusesArgumentsOfAnotherKind) {
  const pickle::Parts good = {pickle::storage(3),    "K" + opcode(0), pickle::integers({3}),
                              pickle::integers({1}), opcode(0x89),    pickle::ordered_dict()};
  EXPECT_EQ(parse_one(pickle::call(pickle::kRebuild, good)).elements, Elements{3});
  for (std::size_t i = 0; i < 4; ++i) {
    pickle::Parts arguments = good;
    arguments[i] = "N";
    EXPECT_THAT(error_of_one(pickle::call(pickle::kRebuild, arguments)),
                HasSubstr("a tensor from other values than torch.save writes"));
  }
  pickle::Parts five(good.begin(), good.end() - 1);
  EXPECT_THAT(error_of_one(pickle::call(pickle::kRebuild, five)), HasSubstr("from other values"));
  pickle::Parts eight = good;
  eight.resize(8, "}");
  EXPECT_THAT(error_of_one(pickle::call(pickle::kRebuild, eight)), HasSubstr("from other values"));
  pickle::Parts texts = good;
  texts[2] = pickle::tuple({pickle::text("3")});
  EXPECT_THAT(error_of_one(pickle::call(pickle::kRebuild, texts)),
              HasSubstr("a dimension or stride is a string"));
  EXPECT_THAT(error_of_one(pickle::call(pickle::global("collections", "OrderedDict"), {"]"})),
              HasSubstr("a call that torch.save does not write"));
  EXPECT_THAT(error_of_one(pickle::call(pickle::text("os.system"), {pickle::text("id")})),
              HasSubstr("a call that torch.save does not write"));
}

TEST(TorchPickle, RefusesOtherThingsOutside) {
  const pickle::Parts good = {pickle::text("storage"), pickle::global("torch", "FloatStorage"),
                              pickle::text("0"), pickle::text("cpu"), "K\3"};
  const auto error_with = [&](std::size_t position, const std::string& part) {
    pickle::Parts parts = good;
    parts[position] = part;
    return error_of_one(pickle::tensor(pickle::tuple(parts) + "Q", {3}, {1}));
  };
  constexpr auto kSays = "a reference to something outside the pickle, but not to a storage";
  EXPECT_EQ(parse_one(pickle::tensor(pickle::tuple(good) + "Q", {3}, {1})).elements, Elements{3});
  EXPECT_THAT(error_with(0, pickle::text("module")), HasSubstr(kSays));
  EXPECT_THAT(error_with(0, "N"), HasSubstr(kSays));
  EXPECT_THAT(error_with(1, pickle::global("collections", "OrderedDict")), HasSubstr(kSays));
  EXPECT_THAT(error_with(2, "K\1"), HasSubstr(kSays));
  EXPECT_THAT(error_with(4, "J\xff\xff\xff\xff"), HasSubstr(kSays));
  EXPECT_THAT(error_with(4, pickle::text("3")), HasSubstr(kSays));
  EXPECT_THAT(error_of_one("NQ"), HasSubstr(kSays));
  EXPECT_THAT(error_of_one(")Q"), HasSubstr(kSays));
}

const std::string& typical() {
  static const std::string bytes = pickle::whole(
      pickle::ordered_dict() + "q" + opcode(0) + "(" + pickle::text("a") + pickle::vector(3, "0") +
      pickle::text("b") + pickle::tensor(pickle::storage(8), {2, 2}, {2, 1}, 3) + "u" +
      pickle::dict({{"_metadata", "]G" + std::string(8, '?') + "a"}}) + "b");
  return bytes;
}

TEST(TorchPickle, RefusesOneThatEndsAnywhereBefore) {
  ASSERT_EQ(parse_torch_pickle(typical(), "m.pt").size(), 2U);
  for (std::size_t size = 0; size < typical().size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THAT(error_of_bytes(typical().substr(0, size)), HasSubstr("data.pkl"));
  }
}

TEST(TorchPickle, StaysInsideTheStorageWhateverByteIsDamaged) {
  for (std::size_t at = 0; at < typical().size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      SCOPED_TRACE(testing::Message() << "byte " << at << " is " << value);
      std::string bytes = typical();
      bytes[at] = static_cast<char>(value);
      try {
        for (const TorchTensor& tensor : parse_torch_pickle(bytes, "m.pt")) {
          EXPECT_LE(tensor.offset + tensor.bytes, tensor.storage_bytes);
          EXPECT_EQ(tensor.bytes.value(),
                    tensor.elements.value() * base::element_bytes(tensor.dtype).value());
        }
      } catch (const base::Error& error) {
        EXPECT_EQ(error.kind(), base::ErrorKind::input);
      }
    }
  }
}

}  // namespace
}  // namespace mpimerge::checkpoint
