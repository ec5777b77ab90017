package runtimeapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// version is the path of the one version of the Runtime API.
const version = "/2018-06-01/runtime"

// api is the Runtime API for one process.
func (e *environment) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+version+"/invocation/next", e.next)
	mux.HandleFunc("POST "+version+"/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			failed := failure(typeTooLarge, "Response payload size exceeded maximum allowed payload size (%d bytes).", maxPayload)
			if e.take(w, r, answer{failed: failed}) {
				say(w, http.StatusRequestEntityTooLarge, failed.Type)
			}
		case err != nil:
			say(w, http.StatusBadRequest, "InvalidRequest")
		case e.take(w, r, answer{response: body}):
			say(w, http.StatusAccepted, "")
		}
	})
	mux.HandleFunc("POST "+version+"/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		if e.take(w, r, answer{failed: failureOf(w, r)}) {
			say(w, http.StatusAccepted, "")
		}
	})
	mux.HandleFunc("POST "+version+"/init/error", func(w http.ResponseWriter, r *http.Request) {
		if e.asked.Load() {
			say(w, http.StatusForbidden, "InvalidStateTransition")
			return
		}
		e.put(answer{failed: failureOf(w, r)})
		say(w, http.StatusAccepted, "")
	})
	return mux
}

// next says that the process is idle, and answers when there is work.
func (e *environment) next(w http.ResponseWriter, r *http.Request) {
	e.asked.Store(true)
	select {
	case e.idle <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	select {
	case j := <-e.work:
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", j.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(j.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", e.r.ARN())
		h.Set("Lambda-Runtime-Trace-Id", traceOf(j.id))
		_, _ = w.Write(j.payload) // the process may be dead
	case <-r.Context().Done():
	}
}

// traceOf makes X-Ray's header of a request id: version, seconds since 1970 and
// 96 bits, not sampled.
func traceOf(id string) string {
	hex := make([]byte, 0, 32)
	for _, c := range []byte(id) {
		if c != '-' {
			hex = append(hex, c)
		}
	}
	return "Root=1-" + string(hex[:8]) + "-" + string(hex[8:32]) + ";Sampled=0"
}

// take accepts the answer to the invocation that the path names, once.
func (e *environment) take(w http.ResponseWriter, r *http.Request, a answer) bool {
	j := e.current.Load()
	if j == nil || j.id != r.PathValue("id") || !e.current.CompareAndSwap(j, nil) {
		say(w, http.StatusBadRequest, "InvalidRequestID")
		return false
	}
	e.put(a)
	return true
}

// put hands an answer over. The first stands.
func (e *environment) put(a answer) {
	select {
	case e.answers <- a:
	default:
	}
}

// failureOf reads the error that a function reports.
func failureOf(w http.ResponseWriter, r *http.Request) *FunctionError {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	var said struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if err != nil || json.Unmarshal(body, &said) != nil {
		kind := r.Header.Get("Lambda-Runtime-Function-Error-Type")
		if kind == "" {
			kind = "Runtime.UnknownReason"
		}
		return failure(kind, "the function reported an error that is no JSON")
	}
	return &FunctionError{Type: said.Type, Message: said.Message, Payload: body}
}

// say answers as the Runtime API does: a status, or the type of an error.
func say(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body := map[string]string{"status": "OK"}
	if kind != "" {
		body = map[string]string{"errorType": kind, "errorMessage": http.StatusText(status)}
	}
	_ = json.NewEncoder(w).Encode(body) // the process may be dead
}
