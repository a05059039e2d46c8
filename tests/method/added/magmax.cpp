#include <cmath>
#include <cstddef>
#include <memory>

#include "mpimerge/app/program.hpp"
#include "mpimerge/method/method.hpp"

namespace {

using namespace mpimerge;

// θ_0 + λ τ: of an element's task vectors, τ is the one of largest magnitude; of equals the last.
class MagMax final : public method::Method {
 public:
  void merge(const method::Tensor& tensor, const method::Tile& tile, float* merged) override {
    const auto lambda = static_cast<float>(tensor.number(0));
    for (std::size_t i = 0; i < tile.elements; ++i) {
      float largest = 0;
      for (const float* model : tile.models) {
        const float delta = model[i] - tile.base[i];
        if (std::abs(delta) >= std::abs(largest)) largest = delta;
      }
      merged[i] = tile.base[i] + lambda * largest;
    }
  }
};

method::Description magmax() {
  method::Description description;
  description.name = "magmax";
  description.about = "the task vectors' value of largest magnitude (Marczak et al. 2024)";
  description.parameters = {{.name = "lambda", .fallback = 1}};
  description.make = [](const method::Setup&) { return std::make_unique<MagMax>(); };
  return description;
}

}  // namespace

int main(int argc, char** argv) {
  method::add(magmax());
  return app::run_program(argc, argv);
}
