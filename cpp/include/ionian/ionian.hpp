// ionian.hpp: everything.
#pragma once

#include "ionian/array.hpp"
#include "ionian/catalog.hpp"
#include "ionian/communicator.hpp"
#include "ionian/device.hpp"
#include "ionian/error.hpp"
#include "ionian/fd.hpp"
#include "ionian/gpu_request.hpp"
#include "ionian/inventory.hpp"
#include "ionian/lease.hpp"
#include "ionian/log.hpp"
#include "ionian/matmul.hpp"
#include "ionian/topology.hpp"
