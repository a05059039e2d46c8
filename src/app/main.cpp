#include "mpimerge/app/program.hpp"

int main(int argc, char** argv) { return mpimerge::app::run_program(argc, argv); }
