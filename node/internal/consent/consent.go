// Package consent evaluates a customer's own rules: conditions in CEL, the Common
// Expression Language, over a request, its vendor, the need, the price and the fields.
// It is pure: it reads nothing, keeps nothing and knows no time; what a rule may know
// comes in as a terms.Question.
//
//  1. Compile reads a rule once: its condition is parsed and checked against the
//     declared variables, so that a word misspelt is found when it is written, with its
//     line and column, and not when a vendor comes.
//  2. A Set holds the compiled rules of one customer.
//  3. Judge evaluates every rule of a set. Of those that hold the most restrictive wins:
//     deny before ask before allow. Order means nothing, so that a rule added later
//     never undoes a prohibition.
//  4. A rule whose evaluation fails, or costs more than its share, never allows: it
//     counts as one that asks her, and says why.
//
// What stands above all rules is not here: the law and what she offered are judged
// before (package terms), and special information and children's are left to her after,
// whatever the rules say (package market).
//
// Bounds: 64 rules of 1,024 bytes; 16 levels of nesting; 256 nodes of one expression
// after its macros; a cost of 10,000 for one evaluation that goes through lists
// within lists, where comparing two words costs about 1.
package consent

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/terms"
)

// Bounds of one condition.
const (
	maxDepth = 16
	maxNodes = 256
	maxCost  = 10_000
	maxRegex = 200
)

// A field is terms.AboutField as conditions see it.
type field struct {
	Name     string `cel:"name"`
	Class    string `cel:"class"`
	Purpose  string `cel:"purpose"`
	Required bool   `cel:"required"`
	Days     int64  `cel:"days"`
	Price    int64  `cel:"price"`
	OnOffer  bool   `cel:"on_offer"`
	Always   bool   `cel:"always"`
}

// A variable is one word that conditions may use.
type variable struct {
	name string
	is   *cel.Type
	of   func(q *terms.Question) any
}

// variables is the vocabulary of conditions, besides fields.
var variables = []variable{
	{"request.on_offer", cel.BoolType, func(q *terms.Question) any { return q.Request.OnOffer }},
	{"request.price_met", cel.BoolType, func(q *terms.Question) any { return q.Request.PriceMet }},
	{"request.counter_met", cel.BoolType, func(q *terms.Question) any { return q.Request.Answers }},
	{"request.basis", cel.StringType, func(q *terms.Question) any { return q.Request.Basis }},
	{"request.days", cel.IntType, func(q *terms.Question) any { return q.Request.Days }},
	{"request.special", cel.BoolType, func(q *terms.Question) any { return q.Request.Special }},
	{"request.abroad", cel.BoolType, func(q *terms.Question) any { return q.Request.Abroad }},
	{"request.automated", cel.BoolType, func(q *terms.Question) any { return q.Request.Automat }},
	{"vendor.id", cel.StringType, func(q *terms.Question) any { return q.Vendor.ID }},
	{"vendor.name", cel.StringType, func(q *terms.Question) any { return q.Vendor.Name }},
	{"vendor.country", cel.StringType, func(q *terms.Question) any { return q.Vendor.Country }},
	{"vendor.registration", cel.StringType, func(q *terms.Question) any { return q.Vendor.Registration }},
	{"vendor.passports", cel.IntType, func(q *terms.Question) any { return q.Vendor.Passport }},
	{"vendor.known", cel.BoolType, func(q *terms.Question) any { return q.Vendor.Known }},
	{"vendor.granted", cel.IntType, func(q *terms.Question) any { return q.Vendor.Granted }},
	{"vendor.refused", cel.IntType, func(q *terms.Question) any { return q.Vendor.Refused }},
	{"vendor.lapses", cel.IntType, func(q *terms.Question) any { return q.Vendor.Lapses }},
	{"need.kind", cel.StringType, func(q *terms.Question) any { return q.Need.Kind }},
	{"need.name", cel.StringType, func(q *terms.Question) any { return q.Need.Name }},
	{"need.category", cel.StringType, func(q *terms.Question) any { return q.Need.Category }},
	{"need.sector", cel.StringType, func(q *terms.Question) any { return q.Need.Sector }},
	{"need.region", cel.StringType, func(q *terms.Question) any { return q.Need.Region }},
	{"need.auto", cel.BoolType, func(q *terms.Question) any { return q.Need.Auto }},
	{"price.minor", cel.IntType, func(q *terms.Question) any { return q.Price.Minor }},
	{"price.currency", cel.StringType, func(q *terms.Question) any { return string(q.Price.Currency) }},
}

// Words lists the variables that conditions may use, each with its type.
func Words() []string {
	list := []string{"fields list"}
	for _, v := range variables {
		list = append(list, v.name+" "+v.is.String())
	}
	slices.Sort(list)
	return list
}

// environment is what all conditions are checked against.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	opts := []cel.EnvOption{
		ext.NativeTypes(ext.ParseStructTags(true), reflect.TypeFor[*field]()),
		cel.Variable("fields", cel.ListType(cel.ObjectType("consent.field"))),
		cel.ParserExpressionSizeLimit(terms.MaxRuleText), cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes), cel.RegexProgramSizeLimit(maxRegex), cel.ParserErrorRecoveryLimit(4),
	}
	for _, v := range variables {
		opts = append(opts, cel.Variable(v.name, v.is))
	}
	return cel.NewEnv(opts...)
})

// A rule is one that was compiled.
type rule struct {
	terms.Rule
	program cel.Program
}

// compile reads the condition of a rule.
func compile(r terms.Rule) (rule, error) {
	if err := r.Check(); err != nil {
		return rule{}, err
	}
	env, err := environment()
	if err != nil {
		return rule{}, fmt.Errorf("consent: %w", err)
	}
	tree, issues := env.Compile(r.When)
	if err := issues.Err(); err != nil {
		return rule{}, explain(r.Name, issues)
	}
	if tree.OutputType() != cel.BoolType {
		return rule{}, fmt.Errorf("rule %s: the condition gives %s, want true or false: compare it with something: %w", r.Name, tree.OutputType(), fault.Malformed)
	}
	opts := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if loops(tree) {
		opts = append(opts, cel.CostLimit(maxCost))
	}
	p, err := env.Program(tree, opts...)
	if err != nil {
		return rule{}, fmt.Errorf("rule %s: %w: %w", r.Name, err, fault.Malformed)
	}
	return rule{r, p}, nil
}

// loops tells whether a condition goes through a list for each item of another. One that
// does not costs at most what its nodes do for each item, and needs no counting while it
// is evaluated, which doubles its price.
func loops(a *cel.Ast) bool {
	comprehension := ast.KindMatcher(ast.ComprehensionKind)
	return slices.ContainsFunc(ast.MatchDescendants(ast.NavigateAST(a.NativeRep()), comprehension), func(e ast.NavigableExpr) bool {
		return len(ast.MatchDescendants(e, comprehension)) > 1
	})
}

// explain says what is wrong with a condition, where, and what to do.
func explain(name string, issues *cel.Issues) error {
	e := issues.Errors()[0]
	next := "look at the words that hark consent words lists"
	if strings.Contains(e.Message, "limit") || strings.Contains(e.Message, "exceed") {
		next = "make several rules of it"
	}
	return fmt.Errorf("rule %s: line %d, column %d: %.200s; %s: %w", name, max(e.Location.Line(), 1), e.Location.Column()+1, e.Message, next, fault.Malformed)
}

// A Set is the compiled rules of one customer. Its zero value has none.
type Set struct{ rules []rule }

// maxSet bounds a set: her rules, and those that are built in.
const maxSet = terms.MaxRules + 3

// Compile reads rules, at most maxSet, each name once.
func Compile(list []terms.Rule) (*Set, error) {
	if len(list) > maxSet {
		return nil, fmt.Errorf("%d rules, at most %d: %w", len(list), maxSet, fault.Full)
	}
	s := &Set{}
	for _, r := range list {
		if slices.ContainsFunc(s.rules, func(other rule) bool { return other.Name == r.Name }) {
			return nil, fmt.Errorf("rule %s is there already; remove it first: %w", r.Name, fault.Conflict)
		}
		c, err := compile(r)
		if err != nil {
			return nil, err
		}
		s.rules = append(s.rules, c)
	}
	slices.SortFunc(s.rules, func(a, b rule) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// Judge gives what the rules say together of a request.
func (s *Set) Judge(q terms.Question) terms.Verdict {
	var v terms.Verdict
	vars := facts(&q)
	for _, r := range s.rules {
		action, why := r.judge(vars)
		if action > v.Action {
			v = terms.Verdict{Action: action, Rule: r.Rule, Why: why}
		}
	}
	return v
}

// judge evaluates one rule.
func (r *rule) judge(vars *answers) (terms.Action, string) {
	out, _, err := r.program.Eval(vars)
	if err != nil {
		return max(r.Action, terms.AskHer), fmt.Sprintf("rule %s could not be evaluated: %.200s", r.Name, cause(err))
	}
	if out == types.True {
		return r.Action, ""
	}
	return terms.Silent, ""
}

func cause(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}

// answers gives conditions the values of their variables: each is made when it is first
// asked for, and once for all rules.
type answers struct {
	q    *terms.Question
	made map[string]ref.Val
}

func facts(q *terms.Question) *answers {
	return &answers{q: q, made: make(map[string]ref.Val, len(byWord))}
}

// byWord finds a variable.
var byWord = func() map[string]variable {
	m := map[string]variable{}
	for _, v := range variables {
		m[v.name] = v
	}
	return m
}()

// ResolveName implements cel.Activation.
func (a *answers) ResolveName(name string) (any, bool) {
	if v, ok := a.made[name]; ok {
		return v, true
	}
	var v any
	if w, ok := byWord[name]; ok {
		v = w.of(a.q)
	} else if name == "fields" {
		list := make([]*field, len(a.q.Fields))
		for i, f := range a.q.Fields {
			list[i] = (*field)(&f)
		}
		v = list
	} else {
		return nil, false
	}
	env, err := environment()
	if err != nil {
		return nil, false
	}
	made := env.CELTypeAdapter().NativeToValue(v)
	a.made[name] = made
	return made, true
}

// Parent implements cel.Activation.
func (a *answers) Parent() cel.Activation { return nil }

// An Engine compiles rules, as package market wants it.
type Engine struct{}

// Compile implements market.Rules.
func (Engine) Compile(list []terms.Rule) (func(terms.Question) terms.Verdict, error) {
	s, err := Compile(list)
	if err != nil {
		return nil, err
	}
	return s.Judge, nil
}
