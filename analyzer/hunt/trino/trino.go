// Package trino runs hunts on a Trino server whose catalogue shows the lake.
package trino

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	client "github.com/trinodb/trino-go-client/trino"

	"github.com/keytrail/keytrail/analyzer/hunt"
)

// Options say which server, and where its tables uses and control are.
type Options struct {
	Server          string // URL, as https://trino.example.com:8443
	User            string
	Password        string // or empty; needs https
	AccessToken     string // a JWT in place of the password, or empty; needs https
	Catalog, Schema string
}

// Server is a connection to a Trino server. Close it at the end.
type Server struct{ db *sql.DB }

// patience is how long a request that is not answered is made again. The client's
// own two minutes are long for somebody who mistyped the address.
const patience = 30 * time.Second

// Open prepares a connection; the first query makes it. It refuses to send a
// secret over a connection that others can read.
func Open(o Options) (*Server, error) {
	address, err := url.Parse(o.Server)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, fmt.Errorf("the Trino server %q is not a URL such as https://trino.example.com:8443", o.Server)
	}
	if address.User != nil {
		return nil, errors.New("the URL of the Trino server must not hold a user or password")
	}
	if address.Scheme != "https" && o.Password+o.AccessToken != "" {
		return nil, fmt.Errorf("a password or token is not sent to %s: others could read it; use https", o.Server)
	}
	address.User = url.User(o.User)
	if o.Password != "" {
		address.User = url.UserPassword(o.User, o.Password)
	}
	// Times of the lake are in UTC and have no zone; in the session's zone they
	// would be read, and compared with literals, as what they are not.
	connector, err := client.NewConnector(&client.Config{
		ServerURI: address.String(), Source: "keytrail", Catalog: o.Catalog, Schema: o.Schema, TimeZone: "UTC",
		AccessToken: o.AccessToken, RequestRetryTimeout: new(patience),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to Trino: %w", err)
	}
	return &Server{db: sql.OpenDB(connector)}, nil
}

// Query runs a statement and calls row for each row, in order. When ctx ends,
// the server is told to stop.
func (s *Server) Query(ctx context.Context, statement string, row hunt.Row) error {
	return hunt.Query(ctx, s.db, statement, row)
}

// Close ends the connection.
func (s *Server) Close() error { return s.db.Close() }
