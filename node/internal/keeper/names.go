package keeper

import (
	"github.com/harkmarket/hark/node/internal/keeper/budget"
	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/node/internal/keeper/mischief"
)

// The client's side under this room's name, so that a caller needs one import.
type (
	Client  = client.Client
	Session = client.Session
	Watch   = client.Watch
	Push    = client.Push
	Deposit = client.Deposit
	Refused = client.Refused
)

// The promises that a keeper can be made to break, likewise.
type Misbehaviour = mischief.Misbehaviour

// These are package mischief's.
const (
	WithholdMail = mischief.WithholdMail
	FlipBits     = mischief.FlipBits
	RollBack     = mischief.RollBack
	ReplayMail   = mischief.ReplayMail
	BlameLater   = mischief.BlameLater
)

// The budgets, likewise.
type (
	Limits = budget.Limits
	Rate   = budget.Rate
)

// NeedNext is client.NeedNext.
const NeedNext = client.NeedNext

// DefaultLimits is budget.Default.
var DefaultLimits = budget.Default

// LacksPostKey is client.LacksPostKey.
func LacksPostKey(err error) bool { return client.LacksPostKey(err) }

// LacksPassport is client.LacksPassport.
func LacksPassport(err error) bool { return client.LacksPassport(err) }
