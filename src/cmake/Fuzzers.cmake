# libFuzzer comes with clang: everything is compiled so that it sees which branches an input takes.
if(MPIMERGE_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "MPIMERGE_BUILD_FUZZERS needs clang, whose libFuzzer it uses, and the compiler is "
                        "${CMAKE_CXX_COMPILER_ID}. Remedy: `apt-get install clang-16 libclang-rt-16-dev`, then `cmake "
                        "--preset fuzz`, or set CMAKE_C_COMPILER and CMAKE_CXX_COMPILER to another clang.")
  endif()
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS -fsanitize=fuzzer)
  check_cxx_source_compiles("extern \"C\" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }"
                            MPIMERGE_HAS_LIBFUZZER)
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT MPIMERGE_HAS_LIBFUZZER)
    message(FATAL_ERROR "${CMAKE_CXX_COMPILER} cannot link libFuzzer. Remedy: install clang's runtime libraries, on "
                        "Debian `apt-get install libclang-rt-16-dev` (the number being that of clang).")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
