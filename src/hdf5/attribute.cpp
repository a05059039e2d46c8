#include "mpimerge/hdf5/attribute.hpp"

#include <memory>

#include <fmt/format.h>
#include <hdf5.h>

#include "hdf5/calls.hpp"

namespace mpimerge::hdf5 {
namespace {

Type text_type() {
  Type type = call::copy_type(H5T_C_S1);
  call::set_type_size(type, H5T_VARIABLE);  // h5py gives a str, and there is no limit of 64 KiB
  call::set_text_utf8(type);
  return type;
}

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Failure(fmt::format("the attribute `{}` {}", name, what), false);
}

Attribute open_single(Id object, const std::string& name) {
  if (!call::attribute_exists(object, name)) refuse(name, "is missing");
  Attribute attribute = call::open_attribute(object, name);
  if (!call::is_single_value(call::attribute_space(attribute)))
    refuse(name, "is not a single value");
  return attribute;
}

struct FreeMemory {
  void operator()(char* memory) const noexcept { H5free_memory(memory); }
};

}  // namespace

void write_text(Id object, const std::string& name, const std::string& text) {
  if (text.find('\0') != std::string::npos) refuse(name, "would have a NUL character in its text");
  const Type type = text_type();
  const Attribute attribute =
      call::create_attribute(object, name, type, call::create_scalar_space());
  const char* const begin = text.c_str();
  call::write_attribute(attribute, type.get(), &begin);
}

void write_number(Id object, const std::string& name, std::int64_t number) {
  const Attribute attribute =
      call::attribute_exists(object, name)
          ? open_single(object, name)
          : call::create_attribute(object, name, call::copy_type(H5T_STD_I64LE),
                                   call::create_scalar_space());
  call::write_attribute(attribute, H5T_NATIVE_INT64, &number);
}

std::string read_text(Id object, const std::string& name) {
  const Attribute attribute = open_single(object, name);
  const Type type = call::attribute_type(attribute);
  if (call::type_class(type) != H5T_STRING || !call::is_variable_text(type)) {
    refuse(name, "is not text of variable length");
  }
  char* text = nullptr;
  call::read_attribute(attribute, type.get(), &text);
  const std::unique_ptr<char, FreeMemory> owner(text);
  return text == nullptr ? std::string() : std::string(text);
}

std::int64_t read_number(Id object, const std::string& name) {
  const Attribute attribute = open_single(object, name);
  if (call::type_class(call::attribute_type(attribute)) != H5T_INTEGER)
    refuse(name, "is not an integer");
  std::int64_t number = 0;
  call::read_attribute(attribute, H5T_NATIVE_INT64, &number);
  return number;
}

}  // namespace mpimerge::hdf5
