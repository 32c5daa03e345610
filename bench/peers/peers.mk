# Compiles the peers of `make bench-index`; tools/bench_peers fetches what it needs and calls it.
#   make -f bench/peers/peers.mk CACHE=~/.cache/quiver-bench -j2 hnswlib faiss usearch
# Everything is written below $(CACHE): objects in obj/, programs in bin/. All peers get the same
# flags, of the machine at hand.

HERE := $(dir $(lastword $(MAKEFILE_LIST)))
CACHE ?= $(HOME)/.cache/quiver-bench
CXX := g++
CXXFLAGS := -std=c++17 -O3 -march=native -DNDEBUG -w
BIN := $(CACHE)/bin
OBJ := $(CACHE)/obj

FAISS := $(CACHE)/src/faiss-1.7.3
FAISS_CPP := $(filter-out %/index_factory.cpp,$(wildcard $(FAISS)/faiss/*.cpp) \
	$(wildcard $(FAISS)/faiss/impl/*.cpp) $(wildcard $(FAISS)/faiss/invlists/*.cpp) \
	$(wildcard $(FAISS)/faiss/utils/*.cpp))
FAISS_O := $(patsubst $(FAISS)/%.cpp,$(OBJ)/faiss/%.o,$(FAISS_CPP))
NEWER_HNSWLIB := $(CACHE)/src/hnswlib-pypi
NEWER_HNSWLIB_VERSION := $(shell cat $(NEWER_HNSWLIB)/VERSION 2>/dev/null)
USEARCH_VERSION := $(shell cat $(CACHE)/src/usearch/VERSION 2>/dev/null)

.PHONY: hnswlib hnswlib-new faiss usearch
hnswlib: $(BIN)/peer_hnswlib
hnswlib-new: $(BIN)/peer_hnswlib_new
faiss: $(BIN)/peer_faiss
usearch: $(BIN)/peer_usearch

$(BIN)/peer_hnswlib: $(HERE)peer_hnswlib.cpp $(HERE)rival.h
	@mkdir -p $(BIN)
	$(CXX) $(CXXFLAGS) -o $@ $<

$(BIN)/peer_hnswlib_new: $(HERE)peer_hnswlib.cpp $(HERE)rival.h
	@mkdir -p $(BIN)
	$(CXX) $(CXXFLAGS) -DHNSWLIB_VERSION=\"$(NEWER_HNSWLIB_VERSION)\" -I$(NEWER_HNSWLIB) -o $@ $<

$(OBJ)/faiss/%.o: $(FAISS)/%.cpp
	@mkdir -p $(@D)
	nice -n 19 $(CXX) $(CXXFLAGS) -fopenmp -DFINTEGER=int -I$(FAISS) -c -o $@ $<

$(OBJ)/libfaiss.a: $(FAISS_O)
	ar rcs $@ $^

$(BIN)/peer_faiss: $(HERE)peer_faiss.cpp $(HERE)rival.h $(OBJ)/libfaiss.a
	@mkdir -p $(BIN)
	$(CXX) $(CXXFLAGS) -fopenmp -I$(FAISS) -o $@ $< $(OBJ)/libfaiss.a -lopenblas

# USearch's kernels are a C library of their own (NumKong), as its npm package builds it.
USEARCH := $(CACHE)/src/usearch
NUMKONG := $(USEARCH)/numkong
NUMKONG_FLAGS := -DNK_NATIVE_F16=0 -DNK_NATIVE_BF16=0 -DNK_DYNAMIC_DISPATCH=1 -I$(NUMKONG)/include
NUMKONG_O := $(patsubst $(NUMKONG)/c/%.c,$(OBJ)/numkong/%.o,$(wildcard $(NUMKONG)/c/*.c))

$(NUMKONG)/nk_probes.h:
	cd $(NUMKONG) && node probes/probe.js

$(OBJ)/numkong/%.o: $(NUMKONG)/c/%.c $(NUMKONG)/nk_probes.h
	@mkdir -p $(@D)
	nice -n 19 gcc -std=c11 -O3 -w -include $(NUMKONG)/nk_probes.h $(NUMKONG_FLAGS) -c -o $@ $<

$(OBJ)/libnumkong.a: $(NUMKONG_O)
	ar rcs $@ $^

$(BIN)/peer_usearch: $(HERE)peer_usearch.cpp $(HERE)rival.h $(OBJ)/libnumkong.a
	@mkdir -p $(BIN)
	$(CXX) $(CXXFLAGS) -DUSEARCH_USE_NUMKONG=1 $(NUMKONG_FLAGS) -include $(NUMKONG)/nk_probes.h \
		-DUSEARCH_VERSION=\"$(USEARCH_VERSION)\" -I$(USEARCH)/include \
		-o $@ $< $(OBJ)/libnumkong.a
