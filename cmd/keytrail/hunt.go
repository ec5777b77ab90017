package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	awsathena "github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/hunt/athena"
	"github.com/keytrail/keytrail/analyzer/hunt/duckdb"
	"github.com/keytrail/keytrail/analyzer/hunt/trino"
	"github.com/keytrail/keytrail/analyzer/report"
)

// Values of --engine.
const (
	engineDuckDB = "duckdb"
	engineTrino  = "trino"
	engineAthena = "athena"
)

// huntOptions are the flags of hunt.
type huntOptions struct {
	engine       string
	since, until timeFlag
	learnUntil   timeFlag
	params       []string
	rules        string
	printSQL     bool

	lake   string // duckdb
	memory sizeFlag

	server, catalog, schema, user string // trino

	workgroup, database string // athena
	maxScan             sizeFlag
	price               float64
}

// huntCommand runs a detection or a person's SQL over a lake of any size.
func (a *app) huntCommand() *cobra.Command {
	o := huntOptions{maxScan: 10 << 30}
	cmd := &cobra.Command{
		Use:   "hunt --since T [--until T] ID|FILE.sql",
		Short: "Run a detection, or your own SQL, over a lake: with DuckDB, Trino or Athena",
		Long: `Hunt asks a lake what a detection finds in a span of time, with the engine that
you have: DuckDB over a local folder, a Trino server, or Amazon Athena over the
lake of a deployed stack. The text is the same on all of them. In place of a
detection's id it takes a file: one with a front matter is hunted as a detection,
any other select reads the views of docs/views.md, which hold the span exactly.

On Athena it says before what the query may read, and after what it read and
cost. It does not start when the days to read hold more than --max-scan, nor in a
workgroup without a limit; it stops the query at --max-scan and on Ctrl-C.
docs/hunt.md tells more, and how to write a statement of your own.`,
		Example: `  keytrail hunt --lake lake --since 2026-03-01 --until 2026-04-01 KMS-U03
  keytrail hunt --engine athena --workgroup keytrail-keytrail --since 2026-03-01 KMS-U07
  keytrail hunt --engine trino --server https://trino.example.com --catalog hive --schema keytrail \
    --since 2026-01-01 --param who='arn:aws:iam::111122223333:user/alice' mine.sql`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("say what to hunt: %s --since T ID|FILE.sql", cmd.CommandPath())
			}
			return nil
		},
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			return a.hunt(cmd.Context(), &o, args[0], time.Now())
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.engine, "engine", engineDuckDB, "`engine`: duckdb, trino or athena")
	f.Var(&o.since, "since", "`time` from which to hunt (2026-03-01 or RFC 3339, UTC)")
	f.Var(&o.until, "until", "`time` before which to hunt (default now)")
	f.StringArrayVar(&o.params, "param", nil, "`name=value` of a parameter; may be given again")
	f.Var(&o.learnUntil, "learn-until", "`time` until which baseline detections only learn")
	f.StringVar(&o.rules, "queries", "", "`folder` of detections to use in place of the built-in ones")
	f.BoolVar(&o.printSQL, "print-sql", false, "print the statement and run nothing")
	f.StringVar(&o.lake, "lake", "", "duckdb: `folder` of the lake")
	f.Var(&o.memory, "memory", "duckdb: memory that it may take (default 1GiB)")
	f.StringVar(&o.server, "server", "", "trino: `URL` of the server")
	f.StringVar(&o.catalog, "catalog", "hive", "trino: `catalog` that shows the lake")
	f.StringVar(&o.schema, "schema", "keytrail", "trino: `schema` with the tables uses and control")
	f.StringVar(&o.user, "user", "", "trino: `user` (default $USER; TRINO_PASSWORD or TRINO_ACCESS_TOKEN in the environment)")
	f.StringVar(&o.workgroup, "workgroup", "", "athena: `workgroup`, as the stack's output AthenaWorkGroup names it")
	f.StringVar(&o.database, "database", "keytrail", "athena: `database` with the tables uses and control")
	f.Var(&o.maxScan, "max-scan", "athena: most that the query may read")
	f.Float64Var(&o.price, "price", athena.PricePerTB, "athena: `USD` for a terabyte read, in your Region")
	mustFlag(cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{engineDuckDB, engineTrino, engineAthena}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (a *app) hunt(ctx context.Context, o *huntOptions, what string, now time.Time) error {
	subject, statement, err := a.huntStatement(o, what, now)
	if err != nil {
		return err
	}
	if o.printSQL {
		_, err := fmt.Fprintln(a.stdout, statement.SQL)
		return err
	}
	rows := a.huntRows(subject.ID)
	usage, err := a.huntWith(ctx, o, statement, rows.row)
	if err := errors.Join(err, rows.flush()); err != nil {
		a.tellUsage(o, usage)
		return err
	}
	return a.huntSummary(o, rows, usage, now)
}

// huntStatement reads what is hunted and writes its statement.
func (a *app) huntStatement(o *huntOptions, what string, now time.Time) (subject hunt.Subject, statement hunt.Statement, err error) {
	options, err := o.options(now)
	if err != nil {
		return subject, statement, err
	}
	c, err := loadCatalog(o.rules)
	if err != nil {
		return subject, statement, err
	}
	if options.Settings, err = a.loadSettings(c); err != nil {
		return subject, statement, err
	}
	if subject, err = huntSubject(c, what); err != nil {
		return subject, statement, err
	}
	for _, p := range o.params {
		name, value, err := subject.Param(p)
		if err != nil {
			return subject, statement, usagef("--param: %w", err)
		}
		options.Params[name] = value
	}
	if statement, err = hunt.Build(subject, options); err != nil {
		return subject, statement, &usageError{err}
	}
	return subject, statement, nil
}

// options are what the flags say, without settings and parameters.
func (o *huntOptions) options(now time.Time) (hunt.Options, error) {
	schema, err := o.schemaOf()
	if err != nil {
		return hunt.Options{}, err
	}
	if time.Time(o.since).IsZero() {
		return hunt.Options{}, usagef("say from when to hunt: --since 2026-03-01")
	}
	options := hunt.Options{
		Since: time.Time(o.since), Until: time.Time(o.until), LearnUntil: time.Time(o.learnUntil), Schema: schema, Params: map[string]any{},
	}
	if options.Until.IsZero() {
		options.Until = now
	}
	return options, nil
}

// schemaOf says where the engine has the tables, and checks what it needs.
func (o *huntOptions) schemaOf() (string, error) {
	switch o.engine {
	case engineDuckDB:
		if o.lake == "" && !o.printSQL {
			return "", usagef("say where the lake is: --lake DIR")
		}
		return duckdb.Schema, nil
	case engineTrino:
		if o.server == "" && !o.printSQL {
			return "", usagef("say where Trino is: --server https://trino.example.com")
		}
		return hunt.Schema(o.catalog, o.schema), nil
	case engineAthena:
		if o.workgroup == "" && !o.printSQL {
			return "", usagef("say in which workgroup: --workgroup W, as the stack's output AthenaWorkGroup names it")
		}
		if !(o.price >= 0) { // not a number is none either
			return "", usagef("--price %v is no price", o.price)
		}
		return hunt.Schema(o.database), nil
	}
	return "", usagef("--engine %q is not known: it is %s, %s or %s", o.engine, engineDuckDB, engineTrino, engineAthena)
}

// huntSubject finds the detection of an id, or reads a file.
func huntSubject(c *catalog.Catalog, what string) (hunt.Subject, error) {
	if !strings.HasSuffix(strings.ToLower(what), ".sql") {
		d, ok := c.ByID(strings.ToUpper(what))
		if !ok {
			return hunt.Subject{}, usagef("there is no detection %q: `keytrail detections list` names all; a file must end in .sql", what)
		}
		return hunt.Of(d), nil
	}
	text, err := os.ReadFile(what)
	if err != nil {
		return hunt.Subject{}, fmt.Errorf("read what to hunt: %w", err)
	}
	subject, err := hunt.Read(what, string(text))
	if err != nil {
		return hunt.Subject{}, &usageError{err}
	}
	return subject, nil
}

// huntEngine runs statements.
type huntEngine interface {
	Query(ctx context.Context, statement string, row hunt.Row) error
	Close() error
}

func (a *app) huntWith(ctx context.Context, o *huntOptions, statement hunt.Statement, row hunt.Row) (u athena.Usage, err error) {
	var engine huntEngine
	switch o.engine {
	case engineAthena:
		return a.huntAthena(ctx, o, statement, row)
	case engineTrino:
		engine, err = trino.Open(trino.Options{
			Server: o.server, User: o.trinoUser(a.env), Password: a.env("TRINO_PASSWORD"), AccessToken: a.env("TRINO_ACCESS_TOKEN"),
			Catalog: o.catalog, Schema: o.schema,
		})
	default:
		engine, err = duckdb.Open(ctx, o.lake, duckdb.Options{MemoryLimit: int64(o.memory)})
	}
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	return u, engine.Query(ctx, statement.SQL, row)
}

// huntAthena hunts on Athena, within what it may cost.
func (a *app) huntAthena(ctx context.Context, o *huntOptions, statement hunt.Statement, row hunt.Row) (athena.Usage, error) {
	clients, err := a.aws(ctx)
	if err != nil {
		return athena.Usage{}, err
	}
	h := athena.Athena{Client: awsathena.NewFromConfig(clients.Config), Workgroup: o.workgroup, Database: o.database, MaxScan: int64(o.maxScan)}
	limit, err := h.Limit(ctx)
	if err != nil {
		return athena.Usage{}, err
	}
	limit = min(limit, h.MaxScan)
	a.tell(fmt.Sprintf("The query is stopped when it has read %s, which costs %s.", size(limit), usd(athena.Cost(limit, o.price))))
	held, err := h.Estimate(ctx, statement.Reads, func(name string) athena.Lister { return awssdk.NewBucket(clients.S3(), name) })
	switch {
	case errors.Is(err, athena.ErrUnknown):
		a.tell(report.Clean(fmt.Sprintf("How much it will read cannot be told: %v.", err)))
	case err != nil:
		return athena.Usage{}, err
	case held > h.MaxScan:
		return athena.Usage{}, fmt.Errorf("%w: the days to read hold %s, --max-scan is %s; hunt through a shorter time, or raise it", athena.ErrRefused, size(held), size(h.MaxScan))
	default:
		a.tell(fmt.Sprintf("The days to read hold %s: %s if all of it is read.", size(held), usd(athena.Cost(held, o.price))))
	}
	if statement.Others {
		a.tell("Tables that the statement names with their schema are not counted in that.")
	}
	return h.Query(ctx, statement.SQL, row)
}

// tell says to a person what is no result.
func (a *app) tell(line string) {
	if !a.quiet {
		a.say(line)
	}
}

// tellUsage says what a query on Athena took.
func (a *app) tellUsage(o *huntOptions, u athena.Usage) {
	if u.Query == "" {
		return
	}
	cost := "nothing is charged, for it failed"
	if u.Charged {
		cost = usd(athena.Cost(u.Scanned, o.price))
	}
	a.tell(fmt.Sprintf("Athena read %s: %s (query %s).", size(u.Scanned), cost, report.Clean(u.Query)))
}

// huntOutput writes the rows of a hunt.
type huntOutput struct {
	what  string
	text  *hunt.Text
	lines *report.Lines
	rows  int64
}

func (a *app) huntRows(what string) *huntOutput {
	out := &huntOutput{what: what}
	if a.format == formatJSON {
		out.lines = report.NewLines(a.stdout)
	} else {
		out.text = hunt.NewText(a.stdout, a.layout())
	}
	return out
}

// huntRow is a row for programs.
type huntRow struct {
	Type string         `json:"type"` // "row"
	Of   string         `json:"of"`   // the detection or file
	Row  map[string]any `json:"row"`
}

func (h *huntOutput) row(columns []string, values []any) error {
	h.rows++
	if h.text != nil {
		return h.text.Row(columns, values)
	}
	row := make(map[string]any, len(columns))
	for i, c := range columns {
		row[c] = values[i]
	}
	return h.lines.Write(huntRow{"row", h.what, row})
}

func (h *huntOutput) flush() error {
	if h.text != nil {
		return h.text.Flush()
	}
	return h.lines.Flush()
}

// huntLine is what a hunt took, for programs: the last line.
type huntLine struct {
	Type    string   `json:"type"` // "hunt"
	Of      string   `json:"of"`
	Engine  string   `json:"engine"`
	Rows    int64    `json:"rows"`
	Seconds float64  `json:"seconds"`
	Scanned *int64   `json:"scanned_bytes,omitempty"` // of Athena
	CostUSD *float64 `json:"cost_usd,omitempty"`
	Query   string   `json:"query_id,omitempty"`
}

func (a *app) huntSummary(o *huntOptions, h *huntOutput, u athena.Usage, began time.Time) error {
	took := time.Since(began)
	if h.lines != nil {
		line := huntLine{Type: "hunt", Of: h.what, Engine: o.engine, Rows: h.rows, Seconds: float64(took.Milliseconds()) / 1000, Query: u.Query}
		if u.Query != "" {
			cost := math.Round(athena.Cost(u.Scanned, o.price)*1e6) / 1e6
			line.Scanned, line.CostUSD = &u.Scanned, &cost
		}
		if err := h.lines.Write(line); err != nil {
			return err
		}
		return h.lines.Flush()
	}
	rows := "rows"
	if h.rows == 1 {
		rows = "row"
	}
	a.tell(fmt.Sprintf("%d %s in %s", h.rows, rows, took.Round(10*time.Millisecond)))
	a.tellUsage(o, u)
	return nil
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", mib(n))
	}
	return fmt.Sprintf("%d bytes", n)
}

// usd writes a price for people; what is less than a tenth of a cent is said so.
func usd(v float64) string {
	if v > 0 && v < 0.001 {
		return "less than 0.001 USD"
	}
	return fmt.Sprintf("%.3f USD", v)
}

// trinoUser is who hunts on Trino, which wants a name.
func (o *huntOptions) trinoUser(env func(string) string) string {
	return cmp.Or(o.user, env("USER"), "keytrail")
}
