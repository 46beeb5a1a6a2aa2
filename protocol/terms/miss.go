package terms

import (
	"cmp"
	"fmt"

	"github.com/harkmarket/hark/protocol"
)

// A Miss is a constraint of the customer's that an offer does not meet.
type Miss uint8

// The misses, in the order in which Misses gives them.
const (
	Budget    Miss = 1 + iota // dearer than the most that she pays
	Currency                  // priced in another currency than hers
	Region                    // not to be had where she wants it
	Condition                 // new, used or refurbished, and she wants another
	Quantity                  // fewer than she wants
	NeededBy                  // ready too late
)

var missNames = [...]string{"", "budget", "currency", "region", "condition", "quantity", "needed-by"}

func (m Miss) String() string {
	if m == 0 || int(m) >= len(missNames) {
		return fmt.Sprintf("miss-%d", uint8(m))
	}
	return missNames[m]
}

// Misses lists the constraints of d that offer o does not meet at time now, none
// where it fits. What an offer leaves open is no miss: price on request, no region,
// no condition. An absent quantity means 1, on both sides, and an absent ready-by
// means now. A region fits where one of the two holds the other.
func Misses(d protocol.Demand, o *protocol.Offer, now protocol.Second) []Miss {
	var list []Miss
	miss := func(missed bool, m Miss) {
		if missed {
			list = append(list, m)
		}
	}
	priced, limited := o.Price.Minor > 0, d.MaxPrice.Minor > 0
	same := o.Price.Currency == d.MaxPrice.Currency
	wanted := cmp.Or(d.Currency, d.MaxPrice.Currency)
	miss(priced && limited && same && o.Price.Minor > d.MaxPrice.Minor, Budget)
	miss(priced && wanted != "" && o.Price.Currency != wanted || priced && limited && !same, Currency)
	miss(o.Region != "" && d.Region != "" && !o.Region.Within(d.Region) && !d.Region.Within(o.Region), Region)
	miss(d.Condition != protocol.AnyCondition && o.Condition != protocol.AnyCondition && o.Condition != d.Condition, Condition)
	miss(max(o.Quantity, 1) < d.Count(), Quantity)
	miss(d.NeededBy > 0 && max(o.ReadyBy, now) > d.NeededBy, NeededBy)
	return list
}
