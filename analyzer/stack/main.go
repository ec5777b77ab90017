package stack

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"
)

// runtimeAPI is the variable by which Lambda tells a function where it is.
const runtimeAPI = "AWS_LAMBDA_RUNTIME_API"

// Main is what the functions' main does: it wires a function with start, runs
// what start returns, and ends with a message and status 1 when that cannot be.
func Main(start func(context.Context, *Environment, *slog.Logger, *Metrics) (run func(), err error)) {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if os.Getenv(runtimeAPI) == "" {
		log.Error("this is a Lambda function and does not run by itself: " + runtimeAPI + " is not set")
		os.Exit(1)
	}
	env := &Environment{Get: os.Getenv}
	metrics := &Metrics{Out: os.Stdout, Stack: env.Or(EnvStack, "keytrail"), Now: time.Now}
	run, err := start(context.Background(), env, log, metrics)
	if err != nil {
		log.Error("the function cannot start", "error", err)
		os.Exit(1)
	}
	run()
}

// Size is how the analyze function parts its memory and disk.
type Size struct {
	DuckDB  int64 // bytes of memory for DuckDB
	Threads int
	Cache   int64 // bytes of disk for objects of the lake
	Slice   int64 // bytes of objects that one slice downloads
}

// MemoryPerCPU is how much memory gives a Lambda function one processor, in MB.
const MemoryPerCPU = 1769

// Sizes parts the memory that Lambda gives the function and the disk that
// template.yaml does (KEYTRAIL_TEMP_MB; Lambda's default without): half of the
// memory for DuckDB, what it spills and the objects of the lake on the disk.
func Sizes(env *Environment) (s Size, err error) {
	memory, err := megabytes(env, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MemoryPerCPU)
	if err != nil {
		return s, err
	}
	disk, err := megabytes(env, "KEYTRAIL_TEMP_MB", 512)
	if err != nil {
		return s, err
	}
	s.DuckDB = memory << 20 / 2
	s.Threads = max(1, int((memory+MemoryPerCPU-1)/MemoryPerCPU))
	s.Cache = disk << 20 / 2
	s.Slice = s.Cache / 2 // the other half is for the look-back
	return s, nil
}

func megabytes(env *Environment, name string, otherwise int64) (int64, error) {
	text := env.Or(name, strconv.FormatInt(otherwise, 10))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s is %q, and must be a number of megabytes", name, text)
	}
	return n, nil
}

// maxShards bounds what EnvShards may say; docs/scale.md tells when to use more
// than one.
const maxShards = 16

// Shards returns in how many parts the lake is analysed.
func Shards(env *Environment) (int, error) {
	text := env.Or(EnvShards, "1")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxShards {
		return 0, fmt.Errorf("%s is %q, and must be a number from 1 to %d", EnvShards, text, maxShards)
	}
	return n, nil
}
