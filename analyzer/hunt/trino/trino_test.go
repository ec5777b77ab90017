package trino_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/hunt/trino"
)

// answer is what Trino says of a query (its client REST API).
type answer map[string]any

// server is a Trino that gives one answer to each statement, and another to
// each question how it goes on. It notes what it was asked.
func server(t *testing.T, first, later answer) (address string, asked chan *http.Request) {
	t.Helper()
	asked = make(chan *http.Request, 100)
	mux := http.NewServeMux()
	var s *httptest.Server
	say := func(a answer) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Clone(context.WithoutCancel(r.Context()))
			out := answer{"id": "q-1", "stats": answer{"state": "RUNNING"}}
			for k, v := range a {
				out[k] = v
			}
			if out["nextUri"] != nil {
				out["nextUri"] = s.URL + "/next"
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(out)
		}
	}
	mux.HandleFunc("POST /v1/statement", say(first))
	mux.HandleFunc("GET /next", say(later))
	mux.HandleFunc("DELETE /", func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Clone(context.WithoutCancel(r.Context()))
		w.WriteHeader(http.StatusNoContent)
	})
	s = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, asked
}

func open(t *testing.T, o trino.Options) *trino.Server {
	t.Helper()
	s, err := trino.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func typed(name, typ string) answer {
	raw, _, _ := strings.Cut(typ, "(")
	return answer{"name": name, "type": typ, "typeSignature": answer{"rawType": raw, "arguments": []any{}}}
}

func TestAQueryGivesItsRowsInPlainTypes(t *testing.T) {
	list := answer{"name": "ids", "type": "array(varchar)", "typeSignature": answer{"rawType": "array", "arguments": []any{
		answer{"kind": "TYPE", "value": answer{"rawType": "varchar", "arguments": []any{}}},
	}}}
	address, asked := server(t, answer{"nextUri": ""}, answer{
		"columns": []any{typed("n", "bigint"), typed("at", "timestamp(3)"), list, typed("none", "varchar")},
		"data":    []any{[]any{7, "2026-03-02 09:00:00.250", []any{"a", "b"}, nil}},
	})
	s := open(t, trino.Options{Server: address, User: "alice", Catalog: "hive", Schema: "keytrail"})
	rows := [][]any{}
	require.NoError(t, s.Query(t.Context(), "select 1", func(columns []string, values []any) error {
		require.Equal(t, []string{"n", "at", "ids", "none"}, columns)
		rows = append(rows, values)
		return nil
	}))
	require.Equal(t, [][]any{{int64(7), time.Date(2026, 3, 2, 9, 0, 0, 250e6, time.UTC), []any{"a", "b"}, nil}}, rows)

	h := (<-asked).Header
	require.Equal(t, "alice", h.Get("X-Trino-User"))
	require.Equal(t, "hive", h.Get("X-Trino-Catalog"))
	require.Equal(t, "keytrail", h.Get("X-Trino-Schema"))
	require.Equal(t, "UTC", h.Get("X-Trino-Time-Zone"))
	require.Empty(t, h.Get("Authorization"))
}

// Nobody pays for a query whose answer nobody awaits.
func TestAQueryIsStoppedWhenItsContextEnds(t *testing.T) {
	address, asked := server(t, answer{"nextUri": ""}, answer{"nextUri": ""})
	s := open(t, trino.Options{Server: address, User: "alice"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		done <- s.Query(ctx, "select 1", func([]string, []any) error { return nil })
	}()
	for r := range asked {
		if r.Method == http.MethodGet {
			cancel()
		}
		if r.Method == http.MethodDelete {
			break
		}
	}
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestSecretsAreOnlySentOverTLS(t *testing.T) {
	withPassword := url.URL{Scheme: "https", Host: "trino.example.com", User: url.UserPassword("alice", "swordfish")}
	for want, o := range map[string]trino.Options{
		"a password or token is not sent to http://trino.example.com":  {Server: "http://trino.example.com", Password: "swordfish"},
		"a password or token is not sent to http://trino2.example.com": {Server: "http://trino2.example.com", AccessToken: "swordfish"},
		"must not hold a user or password":                             {Server: withPassword.String()},
		`the Trino server "trino.example.com:8443" is not a URL`:       {Server: "trino.example.com:8443"},
		`the Trino server "ftp://trino" is not a URL`:                  {Server: "ftp://trino"},
	} {
		_, err := trino.Open(o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "swordfish")
	}
	open(t, trino.Options{Server: "https://trino.example.com", User: "alice", Password: "swordfish"})
	open(t, trino.Options{Server: "https://trino.example.com", User: "alice", AccessToken: "swordfish"})
}
