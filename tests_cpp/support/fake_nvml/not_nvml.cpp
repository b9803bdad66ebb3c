// not_nvml.cpp: a library without any call of NVML.
extern "C" {
int not_nvml();
int not_nvml() { return 0; }
}
