package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/harkmarket/hark/protocol/fault"
)

// A Failure is an error as it leaves the API (RFC 9457). Its type is always
// about:blank; Code tells problems apart.
type Failure struct {
	Title  string              `json:"title" doc:"The HTTP status in words"`
	Status int                 `json:"status" doc:"The HTTP status"`
	Detail string              `json:"detail" doc:"What happened, and where"`
	Code   string              `json:"code" doc:"A short name of the problem, to quote and to test for" example:"not-found"`
	Kind   string              `json:"kind" doc:"The kind of fault inside the node" example:"not found"`
	Next   string              `json:"next,omitempty" doc:"The step that helps"`
	Errors []*huma.ErrorDetail `json:"errors,omitempty" doc:"What is wrong with which part of the request"`
}

func (p *Failure) Error() string { return p.Detail }

// GetStatus makes a Failure a huma.StatusError.
func (p *Failure) GetStatus() int { return p.Status }

// ContentType makes a Failure application/problem+json.
func (p *Failure) ContentType(string) string { return "application/problem+json" }

// faults says how each kind of fault looks from outside.
var faults = map[fault.Kind]struct {
	status int
	next   string
}{
	fault.Internal:    {http.StatusInternalServerError, "look at the node's log; if it stays, report it with this code"},
	fault.Malformed:   {http.StatusUnprocessableEntity, "correct the request; the same one will fail again"},
	fault.Expired:     {http.StatusGone, "its time is over: renew it, or start a new one"},
	fault.Denied:      {http.StatusForbidden, "no consent, right or policy covers it"},
	fault.NotFound:    {http.StatusNotFound, "list what there is and take an id from there"},
	fault.Offline:     {http.StatusServiceUnavailable, "try again when the other side can be reached; `hark peers` shows who is"},
	fault.Full:        {http.StatusTooManyRequests, "try again later; `hark status` shows what is full"},
	fault.Unsupported: {http.StatusNotImplemented, "this version of the node can't do that"},
	fault.Conflict:    {http.StatusConflict, "look at its present state first"},
	fault.Locked:      {http.StatusLocked, "run `hark unlock`"},
}

// code makes "not found" into "not-found".
func code(words string) string { return strings.ReplaceAll(strings.ToLower(words), " ", "-") }

// ofFault makes the problem for an error of a desk.
func ofFault(err error) *Failure {
	if p, ok := errors.AsType[*Failure](err); ok {
		return p
	}
	kind := fault.Of(err)
	f, known := faults[kind]
	if !known {
		f = faults[fault.Internal]
	}
	p := &Failure{Status: f.status, Title: http.StatusText(f.status), Detail: err.Error(), Kind: kind.Error(), Code: code(kind.Error()), Next: f.next}
	if kind == fault.Internal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return plain(http.StatusGatewayTimeout, fault.Offline, "timeout", err.Error(), "try again")
	}
	if n, ok := errors.AsType[interface {
		error
		Next() string
	}](err); ok {
		p.Next = n.Next()
	}
	return p
}

// plain makes a problem of the door itself.
func plain(status int, kind fault.Kind, code, detail, next string) *Failure {
	return &Failure{Status: status, Title: http.StatusText(status), Kind: kind.Error(), Code: code, Detail: detail, Next: next}
}

// send writes a problem outside of an operation.
func send(w http.ResponseWriter, p *Failure) {
	w.Header().Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "5")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// init gives huma our form of error: the library has one hook for a whole program.
// Values are left out of the answer: they may be secrets.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		p := plain(status, fault.Malformed, code(http.StatusText(status)), msg, faults[fault.Malformed].next)
		switch {
		case status >= 500:
			p.Kind, p.Next = fault.Internal.Error(), faults[fault.Internal].next
		case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity:
			p.Code = "malformed"
		}
		if msg == "validation failed" { // the library's word for a request that is not as described
			p.Detail = "this request can't be"
		}
		for _, err := range errs {
			if err == nil {
				continue
			}
			d := &huma.ErrorDetail{Message: err.Error()}
			var e huma.ErrorDetailer
			if errors.As(err, &e) {
				d = &huma.ErrorDetail{Message: e.ErrorDetail().Message, Location: e.ErrorDetail().Location}
			}
			p.Errors = append(p.Errors, d)
			p.Detail += ": " + strings.TrimPrefix(d.Location+": ", ": ") + d.Message
		}
		return p
	}
}
