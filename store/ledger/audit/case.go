package audit

import (
	"cmp"
	"fmt"
	"time"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
	"github.com/harkmarket/hark/protocol/wire"
	"github.com/harkmarket/hark/protocol/wire/voucher"
)

// A claim is a blinded head that a vendor has countersigned.
type claim struct {
	file   int
	grant  protocol.GrantID
	vendor string
	by     protocol.Kind // the letter that countersigns
	side   protocol.Side // whose file says so
	at     protocol.Second
}

// A judged case is what its letters say once they are checked.
type judged struct {
	Case
	net     protocol.Hash
	now     protocol.Second
	letters []wire.Signed
	by      map[protocol.Hash]wire.Signed // by the hash of the envelope
	name    string                        // of the vendor
	chain   wire.Chain

	grant   wire.Signed
	g       *protocol.Grant
	receipt wire.Signed
	r       *protocol.Receipt

	claims   map[protocol.Hash]claim // by the blinded head
	deleted  int
	problems []Problem
	proven   []string
	unproven []string
}

func (j *judged) wrong(w What, format string, args ...any) {
	j.problems = append(j.problems, Problem{What: w, Grant: j.ID.String(), Why: clean(fmt.Sprintf(format, args...))})
}

// judge checks one case: every letter by itself, then who said it to whom.
func judge(c Case, net protocol.Hash, now protocol.Second) *judged {
	j := &judged{Case: c, net: net, now: now, by: map[protocol.Hash]wire.Signed{}, claims: map[protocol.Hash]claim{}}
	j.open()
	if !j.vendor() || !j.granted() {
		return j
	}
	j.received()
	for _, s := range j.letters {
		j.duty(s)
	}
	for _, l := range j.Lapses {
		j.lapse(l)
	}
	return j
}

// open reads the letters; what is not what its signer signed is left out.
func (j *judged) open() {
	for i, raw := range j.Letters {
		s, err := wire.Open(raw)
		switch {
		case err != nil && wire.IsDisclosure(raw):
			j.wrong(Altered, "letter %d under grant %s is a disclosure: it is not signed, either side could have written it, and it shows nothing", i+1, j.ID.Short())
		case err != nil:
			j.wrong(Altered, "letter %d under grant %s: %v", i+1, j.ID.Short(), err)
		case s.Head().Net != j.net:
			j.wrong(OtherGrant, "letter %d under grant %s, a %s, is of another network", i+1, j.ID.Short(), s.Kind())
		case j.by[s.ID()].Kind() != 0:
			j.wrong(Altered, "letter %d under grant %s stands there twice", i+1, j.ID.Short())
		default:
			j.letters = append(j.letters, s)
			j.by[s.ID()] = s
		}
	}
}

// only gives the one letter of a kind.
func (j *judged) only(k protocol.Kind) (one wire.Signed) {
	for _, s := range j.letters {
		if s.Kind() != k {
			continue
		}
		if one.Kind() != 0 {
			j.wrong(OtherGrant, "two letters of kind %s under grant %s, which has one", k, j.ID.Short())
			break
		}
		one = s
	}
	return one
}

// vendor opens the vendor's passports: those that stand there, or those in its request.
func (j *judged) vendor() bool {
	var raws [][]byte
	for _, s := range j.letters {
		if s.Kind() == protocol.KindPassport {
			raws = append(raws, s.Raw())
		}
	}
	request := j.only(protocol.KindRequest)
	q, err := wire.As[*protocol.Request](request)
	if err == nil && len(q.Chain) > len(raws) {
		raws = q.Chain
	}
	if j.chain, err = wire.OpenChain(raws, j.net); err != nil {
		j.wrong(Missing, "grant %s: no passports of its vendor that hold: %v", j.ID.Short(), err)
		return false
	}
	if j.chain.Vendor() != j.Vendor {
		j.wrong(OtherGrant, "grant %s is said to be with vendor %s, and the passports are of vendor %s", j.ID.Short(), j.Vendor.Short(), j.chain.Vendor().Short())
		return false
	}
	j.name = clean(fmt.Sprintf("%s (vendor %s)", cmp.Or(j.chain.Latest().Name, "without a name"), j.Vendor.Short()))
	if request.Kind() == 0 {
		return true
	}
	if q.Vendor != j.Vendor || q.Context != protocol.Hash(j.Context) {
		j.wrong(OtherGrant, "the request of vendor %s is not for this context and vendor", q.Vendor.Short())
	}
	if !j.operational(q.From, q.Created) {
		j.wrong(WrongKey, "the request under grant %s is signed by a key that the passports of %s do not list for that day", j.ID.Short(), j.name)
	}
	return true
}

func (j *judged) operational(k protocol.Hash, at protocol.Second) bool {
	return j.chain.Operational(key.OperationalKey(k), protocol.RoleRequests, at)
}

// granted checks that the grant is the one that everything else is about.
func (j *judged) granted() bool {
	j.grant = j.only(protocol.KindGrant)
	g, err := wire.As[*protocol.Grant](j.grant)
	if err != nil {
		j.wrong(Missing, "grant %s: the grant itself is not there", j.ID.Short())
		return false
	}
	j.g = g
	switch {
	case g.Grant != j.ID:
		j.wrong(OtherGrant, "the grant that stands under %s is grant %s", j.ID.Short(), g.Grant.Short())
	case g.Context != protocol.Hash(j.Context) || g.To != j.Vendor:
		j.wrong(OtherGrant, "grant %s is of another context, or to another vendor than %s", j.ID.Short(), j.name)
	case !g.Re.IsZero() && j.by[g.Re].Kind() != 0 && j.by[g.Re].Kind() != protocol.KindRequest:
		j.wrong(OtherGrant, "grant %s answers what is no request", j.ID.Short())
	case j.only(protocol.KindRequest).Kind() != 0 && g.Re != j.only(protocol.KindRequest).ID():
		j.wrong(OtherGrant, "grant %s answers another request than the one that stands there", j.ID.Short())
	default:
		return true // its id follows from context, vendor and request: wire saw to it
	}
	return false
}

// received checks the countersignature.
func (j *judged) received() {
	j.receipt = j.only(protocol.KindReceipt)
	r, err := wire.As[*protocol.Receipt](j.receipt)
	if err != nil {
		j.unproven = append(j.unproven, fmt.Sprintf("That %s ever had grant %s: no receipt of it is there.", j.name, j.ID.Short()))
		return
	}
	j.r = r
	switch {
	case r.Grant != j.ID || r.Re != j.grant.ID():
		j.wrong(OtherGrant, "the receipt countersigns grant %s (envelope %s), not grant %s (envelope %s)", r.Grant.Short(), r.Re.Short(), j.ID.Short(), j.grant.ID().Short())
		j.r = nil
	case r.To != protocol.Hash(j.g.DutyKey) || r.Context != protocol.Hash(j.Context):
		j.wrong(OtherGrant, "the receipt of grant %s is to another key than the grant names", j.ID.Short())
	case !j.operational(r.From, r.Created):
		j.wrong(WrongKey, "the receipt of grant %s is signed by a key that the passports of %s do not list for that day", j.ID.Short(), j.name)
	case r.Ledger != j.g.Ledger:
		j.wrong(LostHead, "the receipt of grant %s countersigns another head of the ledger than the grant showed", j.ID.Short())
	case !j.paid():
		j.wrong(Unpaid, "the receipt of grant %s does not pay what the grant costs", j.ID.Short())
	default:
		j.claims[r.Ledger] = claim{grant: j.ID, vendor: j.name, by: protocol.KindReceipt, side: j.Side, at: r.Created}
		j.proven = append(j.proven, fmt.Sprintf("%s has countersigned grant %s on %s: it had %s until %s, for what the grant says, and it cannot deny that.",
			j.name, j.ID.Short(), day(r.Created), fields(j.g), day(j.g.End)))
		if j.g.Rail == protocol.RailVoucher {
			j.proven = append(j.proven, fmt.Sprintf("By a voucher %s owes %s for grant %s from the first disclosure on.", j.name, j.g.Price, j.ID.Short()))
			j.unproven = append(j.unproven, fmt.Sprintf("That %s has paid what it owes for grant %s, or not: that goes on outside of these letters.", j.name, j.ID.Short()))
		}
	}
}

// paid holds the payment in the receipt to the grant.
func (j *judged) paid() bool {
	_, err := voucher.Check(j.grant, j.receipt)
	return err == nil
}

// duty checks a letter that travels under duty keys.
func (j *judged) duty(s wire.Signed) {
	hers := map[protocol.Kind]bool{protocol.KindRevocation: true, protocol.KindRight: true, protocol.KindSuspend: true, protocol.KindResume: true}
	its := map[protocol.Kind]bool{protocol.KindDeletion: true, protocol.KindAnswer: true, protocol.KindBreach: true, protocol.KindAck: true}
	h := s.Head()
	switch {
	case s.Kind() == protocol.KindPassport, s.Kind() == protocol.KindRequest, s.Kind() == protocol.KindGrant, s.Kind() == protocol.KindReceipt:
		return
	case !hers[s.Kind()] && !its[s.Kind()]:
		j.wrong(OtherGrant, "a %s is no letter that stands under a grant in such a file", s.Kind())
		return
	case j.r == nil:
		j.wrong(Missing, "a %s under grant %s, whose receipt is not there: nothing says whose key signed it", s.Kind(), j.ID.Short())
		return
	case h.Context != protocol.Hash(j.Context) || under(s) != j.ID:
		j.wrong(OtherGrant, "the %s is under grant %s, not grant %s", s.Kind(), under(s).Short(), j.ID.Short())
		return
	}
	from, to := protocol.Hash(j.g.DutyKey), protocol.Hash(j.r.DutyKey)
	if its[s.Kind()] {
		from, to = to, from
	}
	if h.From != from || h.To != to {
		j.wrong(WrongKey, "the %s under grant %s is not signed by, or not to, the keys that grant and receipt name", s.Kind(), j.ID.Short())
		return
	}
	switch m := s.Message().(type) {
	case *protocol.Deletion:
		j.deletion(m)
	case *protocol.Answer:
		if j.by[m.Re].Kind() != protocol.KindRight {
			j.wrong(OtherGrant, "the answer of %s answers a right that is not there", j.name)
		}
	}
}

// deletion takes the vendor's word that it deleted.
func (j *judged) deletion(m *protocol.Deletion) {
	re := j.by[m.Re]
	switch {
	case m.Re != j.grant.ID() && re.Kind() != protocol.KindRevocation:
		j.wrong(OtherGrant, "the deletion of %s answers a revocation that is not there", j.name)
		return
	case m.Ledger.IsZero():
	case m.Ledger == j.g.Ledger:
	default:
		v, err := wire.As[*protocol.Revocation](re)
		if err != nil || v.Ledger != m.Ledger {
			j.wrong(LostHead, "the deletion of %s under grant %s countersigns a head of the ledger that neither grant nor revocation showed", j.name, j.ID.Short())
			return
		}
		j.claims[m.Ledger] = claim{grant: j.ID, vendor: j.name, by: protocol.KindDeletion, side: j.Side, at: m.Created}
	}
	j.deleted++
	j.proven = append(j.proven, fmt.Sprintf("%s has signed on %s that it deleted what it had under grant %s.", j.name, day(m.Created), j.ID.Short()))
	j.unproven = append(j.unproven, fmt.Sprintf("That %s really deleted it: a signature is a word that it can be held to, not a look into its disks.", j.name))
}

// under is the grant that a letter under duty keys names.
func under(s wire.Signed) protocol.GrantID {
	switch m := s.Message().(type) {
	case *protocol.Revocation:
		return m.Grant
	case *protocol.Deletion:
		return m.Grant
	case *protocol.Right:
		return m.Grant
	case *protocol.Answer:
		return m.Grant
	case *protocol.Breach:
		return m.Grant
	case *protocol.Pause:
		return m.Grant
	case *protocol.Ack:
		return m.Grant
	}
	return protocol.GrantID{}
}

// lapse checks that a promise was made, that its time is up, and that nothing in the
// file keeps it.
func (j *judged) lapse(l Lapse) {
	asked, owed := j.by[l.Re], map[string]protocol.Kind{"deletion": protocol.KindDeletion, "answer": protocol.KindAnswer}[l.Owed]
	deadline, err := j.deadline(asked, owed)
	switch {
	case j.r == nil:
		j.wrong(Missing, "a lapse under grant %s without the receipt that made the vendor owe anything", j.ID.Short())
	case err != nil:
		j.wrong(Missing, "a lapse under grant %s: %v", j.ID.Short(), err)
	case l.Due < deadline || asked.Kind() != protocol.KindGrant && l.Due != deadline:
		j.wrong(Altered, "a lapse under grant %s is dated %s, and the letter says %s", j.ID.Short(), day(l.Due), day(deadline))
	case l.Due > j.now:
		j.wrong(Early, "the %s under grant %s is due on %s, which has not passed", l.Owed, j.ID.Short(), day(l.Due))
	case j.keptBy(l, owed):
		j.wrong(Answered, "the %s under grant %s that is said to be missing is there, signed in time", l.Owed, j.ID.Short())
	default:
		j.lapsed(l)
	}
}

// deadline is when a promise falls due, by the letter that asks for it.
func (j *judged) deadline(asked wire.Signed, owed protocol.Kind) (protocol.Second, error) {
	switch m := asked.Message().(type) {
	case *protocol.Revocation:
		if owed == protocol.KindDeletion {
			return m.Deadline, nil
		}
	case *protocol.Grant:
		if owed == protocol.KindDeletion {
			return m.End, nil // and the days that the network gives after it
		}
	case *protocol.Right:
		if owed == protocol.KindAnswer {
			return m.Deadline, nil
		}
	}
	return 0, fmt.Errorf("the letter that asks for it is not there: %w", fault.NotFound)
}

// keptBy tells whether a letter of the vendor, signed in time, keeps the promise.
func (j *judged) keptBy(l Lapse, owed protocol.Kind) bool {
	for _, s := range j.letters {
		if h := s.Head(); s.Kind() == owed && h.Re == l.Re && h.Created < l.Due { // at that second it has lapsed, as package flow has it
			return true
		}
	}
	return false
}

func (j *judged) lapsed(l Lapse) {
	told := ""
	for _, s := range j.letters {
		if m, err := wire.As[*protocol.Ack](s); err == nil {
			for _, id := range m.Acked {
				if id == l.Re && h(s) <= l.Due {
					told = day(m.Created)
				}
			}
		}
	}
	j.proven = append(j.proven, fmt.Sprintf("%s owed a signed %s under grant %s by %s: it countersigned the grant, and the letter that asks for it is there.",
		j.name, l.Owed, j.ID.Short(), day(l.Due)))
	switch {
	case told != "":
		j.proven = append(j.proven, fmt.Sprintf("%s has signed on %s that it had that letter.", j.name, told))
	case j.by[l.Re].Kind() != protocol.KindGrant:
		j.unproven = append(j.unproven, fmt.Sprintf("That the letter that asks %s for it has arrived: no acknowledgement signed by it is there.", j.name))
	}
	j.unproven = append(j.unproven, fmt.Sprintf("That %s never answered: nobody can prove that nothing came. It can refute the lapse with a signed %s dated before %s.", j.name, l.Owed, day(l.Due)))
}

func h(s wire.Signed) protocol.Second { return s.Head().Created }

func fields(g *protocol.Grant) string {
	names := ""
	for i, f := range g.Fields {
		if i > 0 {
			names += ", "
		}
		names += string(f.Name)
	}
	return cmp.Or(names, "nothing")
}

func day(s protocol.Second) string {
	return time.Unix(int64(min(s, 1<<40)), 0).UTC().Format("2006-01-02 15:04 UTC")
}
