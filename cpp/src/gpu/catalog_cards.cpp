// catalog_cards.cpp: the cards that people own: GeForce, TITAN, Quadro, RTX workstation.
//
// Within one chip family every tensor rate is a fixed multiple of fp32, because both scale with the
// number of multiprocessors and the clock. So a card states fp32 and its group the multiples.
// GeForce chips multiply at half rate when they accumulate in fp32; TITAN RTX and workstation cards
// do not.
#include "gpu/catalog_table.hpp"

namespace ionian::catalog_table {
namespace {

// clang-format off
constexpr CardRow kGeForce10[] = {
  {"GTX1050-TI", "GeForce GTX 1050 Ti", 4, 112, 2.1},
  {"GTX1060-6GB", "GeForce GTX 1060 6GB", 6, 192, 4.4, "GTX1060"},
  {"GTX1060-3GB", "GeForce GTX 1060 3GB", 3, 192, 3.9},
  {"GTX1070", "GeForce GTX 1070", 8, 256, 6.5},
  {"GTX1070-TI", "GeForce GTX 1070 Ti", 8, 256, 8.2},
  {"GTX1080", "GeForce GTX 1080", 8, 320, 8.9},
  {"GTX1080-TI", "GeForce GTX 1080 Ti", 11, 484, 11.3},
};
constexpr CardRow kGeForce16[] = {
  {"GTX1650", "GeForce GTX 1650", 4, 128, 3},
  {"GTX1650-SUPER", "GeForce GTX 1650 SUPER", 4, 192, 4.4},
  {"GTX1660", "GeForce GTX 1660", 6, 192, 5},
  {"GTX1660-SUPER", "GeForce GTX 1660 SUPER", 6, 336, 5},
  {"GTX1660-TI", "GeForce GTX 1660 Ti", 6, 288, 5.4},
};
constexpr CardRow kGeForce20[] = {
  {"RTX2060", "GeForce RTX 2060", 6, 336, 6.5},
  {"RTX2060-SUPER", "GeForce RTX 2060 SUPER", 8, 448, 7.2},
  {"RTX2070", "GeForce RTX 2070", 8, 448, 7.5},
  {"RTX2070-SUPER", "GeForce RTX 2070 SUPER", 8, 448, 9.1},
  {"RTX2080", "GeForce RTX 2080", 8, 448, 10.1},
  {"RTX2080-SUPER", "GeForce RTX 2080 SUPER", 8, 496, 11.2},
  {"RTX2080-TI", "GeForce RTX 2080 Ti", 11, 616, 13.4},
};
constexpr CardRow kGeForce30[] = {
  {"RTX3050", "GeForce RTX 3050", 8, 224, 9.1},
  {"RTX3060", "GeForce RTX 3060", 12, 360, 12.7},
  {"RTX3060-TI", "GeForce RTX 3060 Ti", 8, 448, 16.2},
  {"RTX3070", "GeForce RTX 3070", 8, 448, 20.3},
  {"RTX3070-TI", "GeForce RTX 3070 Ti", 8, 608, 21.7},
  {"RTX3080", "GeForce RTX 3080", 10, 760, 29.8},
  {"RTX3080", "GeForce RTX 3080", 12, 912, 30.6},
  {"RTX3080-TI", "GeForce RTX 3080 Ti", 12, 912, 34.1},
  {"RTX3090", "GeForce RTX 3090", 24, 936, 35.6},
  {"RTX3090-TI", "GeForce RTX 3090 Ti", 24, 1008, 40},
};
constexpr CardRow kGeForce40[] = {
  {"RTX4060", "GeForce RTX 4060", 8, 272, 15.1},
  {"RTX4060-TI", "GeForce RTX 4060 Ti", 8, 288, 22.1},
  {"RTX4060-TI", "GeForce RTX 4060 Ti", 16, 288, 22.1},
  {"RTX4070", "GeForce RTX 4070", 12, 504, 29.1},
  {"RTX4070-SUPER", "GeForce RTX 4070 SUPER", 12, 504, 35.5},
  {"RTX4070-TI", "GeForce RTX 4070 Ti", 12, 504, 40.1},
  {"RTX4070-TI-SUPER", "GeForce RTX 4070 Ti SUPER", 16, 672, 44.1},
  {"RTX4080", "GeForce RTX 4080", 16, 717, 48.7},
  {"RTX4080-SUPER", "GeForce RTX 4080 SUPER", 16, 736, 52.2},
  {"RTX4090-D", "GeForce RTX 4090 D", 24, 1008, 73.5, "RTX4090D"},
  {"RTX4090", "GeForce RTX 4090", 24, 1008, 82.6},
};
constexpr CardRow kGeForce50[] = {
  {"RTX5050", "GeForce RTX 5050", 8, 320, 13.2},
  {"RTX5060", "GeForce RTX 5060", 8, 448, 19.2},
  {"RTX5060-TI", "GeForce RTX 5060 Ti", 8, 448, 23.7},
  {"RTX5060-TI", "GeForce RTX 5060 Ti", 16, 448, 23.7},
  {"RTX5070", "GeForce RTX 5070", 12, 672, 30.9},
  {"RTX5070-TI", "GeForce RTX 5070 Ti", 16, 896, 43.9},
  {"RTX5080", "GeForce RTX 5080", 16, 960, 56.3},
  {"RTX5090-D", "GeForce RTX 5090 D", 32, 1792, 104.8, "RTX5090D"},
  {"RTX5090", "GeForce RTX 5090", 32, 1792, 104.8},
};
constexpr CardRow kLaptop20[] = {
  {"RTX2060-MAX-Q", "GeForce RTX 2060 with Max-Q Design", 6, 264, 0},
  {"RTX2070-MAX-Q", "GeForce RTX 2070 with Max-Q Design", 8, 384, 0},
  {"RTX2080-MAX-Q", "GeForce RTX 2080 with Max-Q Design", 8, 384, 0},
};
constexpr CardRow kLaptop30[] = {
  {"RTX3050-LAPTOP", "GeForce RTX 3050 Laptop GPU", 4, 192, 0},
  {"RTX3050-TI-LAPTOP", "GeForce RTX 3050 Ti Laptop GPU", 4, 192, 0},
  {"RTX3060-LAPTOP", "GeForce RTX 3060 Laptop GPU", 6, 336, 0},
  {"RTX3070-LAPTOP", "GeForce RTX 3070 Laptop GPU", 8, 448, 0},
  {"RTX3070-TI-LAPTOP", "GeForce RTX 3070 Ti Laptop GPU", 8, 448, 0},
  {"RTX3080-LAPTOP", "GeForce RTX 3080 Laptop GPU", 8, 448, 0},
  {"RTX3080-LAPTOP", "GeForce RTX 3080 Laptop GPU", 16, 448, 0},
  {"RTX3080-TI-LAPTOP", "GeForce RTX 3080 Ti Laptop GPU", 16, 512, 0},
};
constexpr CardRow kLaptop40[] = {
  {"RTX4050-LAPTOP", "GeForce RTX 4050 Laptop GPU", 6, 192, 0},
  {"RTX4060-LAPTOP", "GeForce RTX 4060 Laptop GPU", 8, 256, 0},
  {"RTX4070-LAPTOP", "GeForce RTX 4070 Laptop GPU", 8, 256, 0},
  {"RTX4080-LAPTOP", "GeForce RTX 4080 Laptop GPU", 12, 432, 0},
  {"RTX4090-LAPTOP", "GeForce RTX 4090 Laptop GPU", 16, 576, 0},
};
constexpr CardRow kLaptop50[] = {
  {"RTX5050-LAPTOP", "GeForce RTX 5050 Laptop GPU", 8, 384, 0},
  {"RTX5060-LAPTOP", "GeForce RTX 5060 Laptop GPU", 8, 384, 0},
  {"RTX5070-LAPTOP", "GeForce RTX 5070 Laptop GPU", 8, 384, 0},
  {"RTX5070-TI-LAPTOP", "GeForce RTX 5070 Ti Laptop GPU", 12, 672, 0},
  {"RTX5080-LAPTOP", "GeForce RTX 5080 Laptop GPU", 16, 896, 0},
  {"RTX5090-LAPTOP", "GeForce RTX 5090 Laptop GPU", 24, 896, 0},
};
constexpr CardRow kTitanPascal[] = {
  {"TITAN-X", "TITAN X (Pascal)", 12, 480, 11},
  {"TITAN-XP", "TITAN Xp|TITAN Xp COLLECTORS EDITION", 12, 548, 12.1},
};
constexpr CardRow kTitanVolta[] = {
  {"TITAN-V", "TITAN V", 12, 653, 13.8},
};
constexpr CardRow kTitanTuring[] = {
  {"TITAN-RTX", "TITAN RTX", 24, 672, 16.3},
};
constexpr CardRow kQuadroVolta[] = {
  {"QUADRO-GV100", "Quadro GV100", 32, 870, 14.8, "GV100"},
};
constexpr CardRow kQuadroTuring[] = {
  {"QUADRO-RTX-4000", "Quadro RTX 4000", 8, 416, 7.1},
  {"QUADRO-RTX-5000", "Quadro RTX 5000", 16, 448, 11.2},
  {"QUADRO-RTX-6000", "Quadro RTX 6000", 24, 672, 16.3},
  {"QUADRO-RTX-8000", "Quadro RTX 8000", 48, 672, 16.3},
};
constexpr CardRow kRtxAmpere[] = {
  {"RTX-A2000", "RTX A2000", 6, 288, 8, "A2000"},
  {"RTX-A2000", "RTX A2000 12GB", 12, 288, 8},
  {"RTX-A4000", "RTX A4000", 16, 448, 19.2, "A4000"},
  {"RTX-A4500", "RTX A4500", 20, 640, 23.7, "A4500"},
  {"RTX-A5000", "RTX A5000", 24, 768, 27.8, "A5000"},
  {"RTX-A5500", "RTX A5500", 24, 768, 34.1, "A5500"},
  {"RTX-A6000", "RTX A6000", 48, 768, 38.7, "A6000"},
};
constexpr CardRow kRtxAda[] = {
  {"RTX-2000-ADA", "RTX 2000 Ada Generation", 16, 224, 12},
  {"RTX-4000-SFF-ADA", "RTX 4000 SFF Ada Generation", 20, 280, 19.2},
  {"RTX-4000-ADA", "RTX 4000 Ada Generation", 20, 360, 26.7},
  {"RTX-4500-ADA", "RTX 4500 Ada Generation", 24, 432, 39.6},
  {"RTX-5000-ADA", "RTX 5000 Ada Generation", 32, 576, 65.3},
  {"RTX-5880-ADA", "RTX 5880 Ada Generation", 48, 960, 69.3},
  {"RTX-6000-ADA", "RTX 6000 Ada Generation", 48, 960, 91.1},
};
constexpr CardRow kRtxBlackwell[] = {
  {"RTX-PRO-4000", "RTX PRO 4000 Blackwell", 24, 672, 0},
  {"RTX-PRO-4500", "RTX PRO 4500 Blackwell", 32, 896, 0},
  {"RTX-PRO-5000", "RTX PRO 5000 Blackwell", 48, 1344, 0},
};

constexpr CardGroup kGroups[] = {
  // family, architecture, compute, then over fp32: fp64, tf32, fp16, bf16, fp8, int8
  {"GeForce", "Pascal", 61, 1.0/32, 0, 0, 0, 0, 4,
      "NVIDIA GeForce GTX 10 specifications; ratios of the Pascal architecture paper", kGeForce10},
  {"GeForce", "Turing", 75, 1.0/32, 0, 2, 0, 0, 4,
      "NVIDIA GeForce GTX 16 specifications; ratios of the Turing architecture paper, no tensor cores", kGeForce16},
  {"GeForce", "Turing", 75, 1.0/32, 0, 4, 0, 0, 16,
      "NVIDIA GeForce RTX 20 specifications; ratios of the Turing architecture paper", kGeForce20},
  {"GeForce", "Ampere", 86, 1.0/64, 1, 2, 2, 0, 8,
      "NVIDIA GeForce RTX 30 specifications; ratios of the GA102 architecture paper", kGeForce30},
  {"GeForce", "Ada Lovelace", 89, 1.0/64, 1, 2, 2, 4, 8,
      "NVIDIA GeForce RTX 40 specifications; ratios of the Ada architecture paper", kGeForce40},
  {"GeForce", "Blackwell", 120, 1.0/64, 1, 2, 2, 4, 8,
      "NVIDIA GeForce RTX 50 specifications; ratios of the RTX Blackwell architecture paper", kGeForce50},
  {"GeForce Laptop", "Turing", 75, 0, 0, 0, 0, 0, 0,
      "NVIDIA GeForce RTX 20 laptop specifications", kLaptop20},
  {"GeForce Laptop", "Ampere", 86, 0, 0, 0, 0, 0, 0,
      "NVIDIA GeForce RTX 30 laptop specifications", kLaptop30},
  {"GeForce Laptop", "Ada Lovelace", 89, 0, 0, 0, 0, 0, 0,
      "NVIDIA GeForce RTX 40 laptop specifications", kLaptop40},
  {"GeForce Laptop", "Blackwell", 120, 0, 0, 0, 0, 0, 0,
      "NVIDIA GeForce RTX 50 laptop specifications", kLaptop50},
  {"TITAN", "Pascal", 61, 1.0/32, 0, 0, 0, 0, 4,
      "NVIDIA TITAN specifications; ratios of the Pascal architecture paper", kTitanPascal},
  {"TITAN", "Volta", 70, 0.5, 0, 8, 0, 0, 0,
      "NVIDIA TITAN V specifications", kTitanVolta},
  {"TITAN", "Turing", 75, 1.0/32, 0, 8, 0, 0, 16,
      "NVIDIA TITAN RTX specifications; ratios of the Turing architecture paper", kTitanTuring},
  {"RTX workstation", "Volta", 70, 0.5, 0, 8, 0, 0, 0,
      "NVIDIA Quadro GV100 data sheet", kQuadroVolta},
  {"RTX workstation", "Turing", 75, 1.0/32, 0, 8, 0, 0, 16,
      "NVIDIA Quadro RTX data sheets; ratios of the Turing architecture paper", kQuadroTuring},
  {"RTX workstation", "Ampere", 86, 1.0/64, 2, 4, 4, 0, 8,
      "NVIDIA RTX A data sheets; ratios of the GA102 architecture paper", kRtxAmpere},
  {"RTX workstation", "Ada Lovelace", 89, 1.0/64, 2, 4, 4, 8, 8,
      "NVIDIA RTX Ada Generation data sheets; ratios of the Ada architecture paper", kRtxAda},
  {"RTX workstation", "Blackwell", 120, 1.0/64, 2, 4, 4, 8, 8,
      "NVIDIA RTX PRO Blackwell data sheets", kRtxBlackwell},
};
// clang-format on

}  // namespace

std::span<const CardGroup> cards() { return kGroups; }

}  // namespace ionian::catalog_table
