add_library(mpimerge_warnings INTERFACE)
target_compile_options(mpimerge_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
                                                   -Wold-style-cast -Woverloaded-virtual)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(mpimerge_warnings INTERFACE -Wno-restrict)  # wrong on std::string + literal, GCC bug 105651
endif()
if(MPIMERGE_WERROR)
  target_compile_options(mpimerge_warnings INTERFACE -Werror)
endif()

# Two roundings in θ = fl(θ_0 + fl(λ·τ)): a fused multiply-add would change bits (design: numerics).
add_compile_options(-ffp-contract=off)

if(MPIMERGE_SANITIZE)
  add_compile_options(-fsanitize=${MPIMERGE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MPIMERGE_SANITIZE})
endif()
