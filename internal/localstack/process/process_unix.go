//go:build unix

package process

import "syscall"

// KillGroup kills a process and its children. Either may be gone.
func KillGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// Freeze stops a process and its children where they are.
func Freeze(pid int) { _ = syscall.Kill(-pid, syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func Thaw(pid int) { _ = syscall.Kill(-pid, syscall.SIGCONT) }
