package wire

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/fault"
)

func TestCapability(t *testing.T) {
	c := capability("offer")
	if err := CheckCapability(c, c.Expires-1); err != nil {
		t.Error(err)
	}
	if err := CheckCapability(c, c.Expires); !errors.Is(err, fault.Expired) {
		t.Errorf("at its end: %v", err)
	}
	for name, row := range map[string]struct {
		do   func(*protocol.Capability)
		want fault.Kind
	}{
		"depositor":   {func(c *protocol.Capability) { c.Depositor = private[key.Depositor]("x").Public() }, fault.Denied},
		"box":         {func(c *protocol.Capability) { c.Box = private[key.Mailbox]("x").Public() }, fault.Denied},
		"quota":       {func(c *protocol.Capability) { c.Letters++ }, fault.Denied},
		"end":         {func(c *protocol.Capability) { c.Expires++ }, fault.Denied},
		"small order": {func(c *protocol.Capability) { c.Box = smallOrder }, bad},
		"no id":       {func(c *protocol.Capability) { c.ID = protocol.ID{} }, bad},
		"no letters":  {func(c *protocol.Capability) { c.Letters = 0 }, bad},
		"no sig":      {func(c *protocol.Capability) { c.Sig = nil }, bad},
	} {
		c := c
		row.do(&c)
		if err := CheckCapability(c, testNow); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := SignCapability(private[key.Mailbox]("x"), &c); !errors.Is(err, fault.Denied) {
		t.Errorf("signed by another mailbox: %v", err)
	}
	c.Box, c.KiB = private[key.Mailbox]("x").Public(), 0
	if err := SignCapability(private[key.Mailbox]("x"), &c); !errors.Is(err, bad) {
		t.Errorf("signed without a quota: %v", err)
	}
}

func TestOps(t *testing.T) {
	keeper, nonce := keepers(1)[0].Key, id("nonce")
	box := private[key.Mailbox]("box context")
	for _, v := range append(sampleOps(), &protocol.Op{N: 8, Kind: protocol.OpPeers}, &protocol.Op{N: 1, Kind: protocol.OpPassport, Vendor: hash("v")},
		&protocol.Op{N: 1, Kind: protocol.OpPost, Data: make([]byte, SealedPost), Next: keepers(1)[0]}, &protocol.Op{N: 1, Kind: protocol.OpPostKey}, &protocol.Op{N: 1, Kind: protocol.OpPostKey, Next: keepers(1)[0]}, &protocol.Op{N: 1, Kind: protocol.OpPublish, Data: []byte{1}}) {
		o := v.(*protocol.Op)
		if err := CheckOp(o, keeper, nonce); err != nil {
			t.Errorf("kind %d: %v", o.Kind, err)
		}
		if len(o.Sig) == 0 {
			continue
		}
		moved := []error{CheckOp(o, keepers(2)[1].Key, nonce), CheckOp(o, keeper, id("other nonce"))}
		again := *o
		again.N++
		moved = append(moved, CheckOp(&again, keeper, nonce))
		for i, err := range moved {
			if !errors.Is(err, fault.Denied) {
				t.Errorf("kind %d, replay %d: %v", o.Kind, i, err)
			}
		}
	}
	boxOp := func(k protocol.OpKind) *protocol.Op { return &protocol.Op{N: 1, Kind: k, Box: box.Public()} }
	for name, row := range map[string]struct {
		op   *protocol.Op
		want fault.Kind
	}{
		"no kind":              {&protocol.Op{N: 1}, bad},
		"kind 99":              {&protocol.Op{N: 1, Kind: 99}, newer},
		"no number":            {&protocol.Op{Kind: protocol.OpPeers}, bad},
		"collect unsigned":     {boxOp(protocol.OpCollect), bad},
		"list signed":          {&protocol.Op{N: 1, Kind: protocol.OpList, Sig: make([]byte, 64)}, bad},
		"collect of no box":    {&protocol.Op{N: 1, Kind: protocol.OpCollect, Sig: make([]byte, 64)}, bad},
		"fetch nothing":        {&protocol.Op{N: 1, Kind: protocol.OpFetch}, bad},
		"post nothing":         {&protocol.Op{N: 1, Kind: protocol.OpPost}, bad},
		"post too much":        {&protocol.Op{N: 1, Kind: protocol.OpPost, Data: make([]byte, protocol.MaxAnnouncement+1)}, bad},
		"post open to a next":  {&protocol.Op{N: 1, Kind: protocol.OpPost, Data: []byte{1}, Next: keepers(1)[0]}, bad},
		"post over the bucket": {&protocol.Op{N: 1, Kind: protocol.OpPost, Data: make([]byte, SealedPost+1), Next: keepers(1)[0]}, bad},
		"post sealed, no next": {&protocol.Op{N: 1, Kind: protocol.OpPost, Data: make([]byte, SealedPost)}, bad},
		"post key signed":      {&protocol.Op{N: 1, Kind: protocol.OpPostKey, Sig: make([]byte, 64)}, bad},
		"kind 15":              {&protocol.Op{N: 1, Kind: 15}, newer},
		"publish too much":     {&protocol.Op{N: 1, Kind: protocol.OpPublish, Data: make([]byte, protocol.MaxEnvelope+1)}, bad},
		"passport of nobody":   {&protocol.Op{N: 1, Kind: protocol.OpPassport}, bad},
		"next without key":     {&protocol.Op{N: 1, Kind: protocol.OpPost, Data: []byte{1}, Next: protocol.Keeper{Addrs: [][]byte{{1}}}}, bad},
		"deposit of nothing":   {&protocol.Op{N: 1, Kind: protocol.OpDeposit, Box: box.Public()}, bad},
		"deposit held long":    {&protocol.Op{N: 1, Kind: protocol.OpDeposit, Box: box.Public(), Letter: []byte{1}, Hold: protocol.Hour + 1}, bad},
		"deposit of a giant":   {&protocol.Op{N: 1, Kind: protocol.OpDeposit, Box: box.Public(), Letter: make([]byte, protocol.MaxLetter+1)}, bad},
		"first by halves":      {&protocol.Op{N: 1, Kind: protocol.OpDeposit, Box: box.Public(), Letter: []byte{1}, First: protocol.FirstContact{Vendor: hash("v")}}, bad},
		"first, unknown lane":  {&protocol.Op{N: 1, Kind: protocol.OpDeposit, Box: box.Public(), Letter: []byte{1}, First: protocol.FirstContact{Stamp: protocol.Admission{Lane: 2}}}, newer},
		"first, vouch unnamed": {&protocol.Op{N: 1, Kind: protocol.OpDeposit, Box: box.Public(), Letter: []byte{1}, First: protocol.FirstContact{Vouch: vouch()}}, bad},
	} {
		if err := CheckOp(row.op, keeper, nonce); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := SignOp(private[key.Mailbox]("x"), boxOp(protocol.OpCollect), keeper, nonce); !errors.Is(err, fault.Denied) {
		t.Errorf("signed by another mailbox: %v", err)
	}
	if err := SignOp(box, boxOp(protocol.OpRevoke), keeper, nonce); !errors.Is(err, bad) {
		t.Errorf("revokes nothing: %v", err)
	}
	other := capDeposit()
	other.Box = box.Public()
	if err := CheckOp(other, keeper, nonce); !errors.Is(err, bad) {
		t.Errorf("a capability for another mailbox: %v", err)
	}
}

// What is said of ranges is bounded and in order, and each part belongs to one range.
func TestRanges(t *testing.T) {
	all := func(n int) []uint32 {
		out := make([]uint32, n)
		for i := range out {
			out[i] = uint32(i)
		}
		return out
	}
	for name, row := range map[string]struct {
		op   protocol.Op
		want error
	}{
		"all at once":       {protocol.Op{Ranges: []uint32{0}, Split: 8}, nil},
		"as many as go":     {protocol.Op{Ranges: all(protocol.MaxRanges), Bits: 10, Split: 1}, nil},
		"ids":               {protocol.Op{Ranges: []uint32{0xffffffff}, Bits: 32, After: hash("x")}, nil},
		"none":              {protocol.Op{}, bad},
		"too many":          {protocol.Op{Ranges: all(protocol.MaxRanges + 1), Bits: 11}, bad},
		"too many parts":    {protocol.Op{Ranges: all(protocol.MaxRanges), Bits: 10, Split: 2}, bad},
		"too fine":          {protocol.Op{Ranges: []uint32{0}, Split: 9}, bad},
		"too deep":          {protocol.Op{Ranges: []uint32{0}, Bits: 33}, bad},
		"too deep by parts": {protocol.Op{Ranges: []uint32{0}, Bits: 30, Split: 3}, bad},
		"bits that wrap":    {protocol.Op{Ranges: []uint32{0}, Bits: 255, Split: 8}, bad},
		"twice the same":    {protocol.Op{Ranges: []uint32{1, 1}, Bits: 2}, bad},
		"descending":        {protocol.Op{Ranges: []uint32{2, 1}, Bits: 2}, bad},
		"more than bits":    {protocol.Op{Ranges: []uint32{4}, Bits: 2}, bad},
		"prints after id":   {protocol.Op{Ranges: []uint32{1}, Bits: 2, Split: 2, After: hash("x")}, bad},
		"signed":            {protocol.Op{Ranges: []uint32{1}, Bits: 2, Sig: make([]byte, 64)}, bad},
	} {
		row.op.N, row.op.Kind = 1, protocol.OpRanges
		if err := CheckOp(&row.op, keepers(1)[0].Key, id("nonce")); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	prints := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	for name, reply := range map[string]protocol.Reply{
		"prints by halves":  {Salt: id("s"), Counts: []uint32{1}, Prints: prints(protocol.PrintSize - 1)},
		"more prints":       {Salt: id("s"), Counts: []uint32{1}, Prints: prints(2 * protocol.PrintSize)},
		"prints alone":      {Salt: id("s"), Prints: prints(protocol.PrintSize)},
		"without a salt":    {Counts: []uint32{1}, Prints: prints(protocol.PrintSize)},
		"more than go into": {Salt: id("s"), Counts: make([]uint32, protocol.MaxPrints+1), Prints: prints((protocol.MaxPrints + 1) * protocol.PrintSize)},
	} {
		reply.N = 1
		var back protocol.Reply
		if err := Unmarshal(must(Marshal(&reply)), &back, protocol.MaxFrame); !errors.Is(err, bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDepositReceipt(t *testing.T) {
	r := depositReceipt()
	if err := CheckReceipt(r); err != nil {
		t.Error(err)
	}
	for name, do := range map[string]func(*protocol.DepositReceipt){
		"letter": func(r *protocol.DepositReceipt) { r.Letter = hash("x") }, "end": func(r *protocol.DepositReceipt) { r.Expires++ },
		"box": func(r *protocol.DepositReceipt) { r.Box = private[key.Mailbox]("x").Public() }, "keeper": func(r *protocol.DepositReceipt) { r.Keeper = keepers(2)[1].Key },
	} {
		r := depositReceipt()
		do(&r)
		if err := CheckReceipt(r); !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.Expires = r.At
	if err := CheckReceipt(r); !errors.Is(err, bad) {
		t.Errorf("ends as it begins: %v", err)
	}
	if err := SignReceipt(private[key.Keeper]("x"), &r); !errors.Is(err, fault.Denied) {
		t.Errorf("signed by another keeper: %v", err)
	}
}

func TestFirstContact(t *testing.T) {
	box, letter, keeper := private[key.Mailbox]("box context").Public(), hash("letter"), keepers(1)[0].Key
	f := firstContact(box, letter, keeper)
	if err := CheckFirst(&f, box, letter, keeper, testNow); err != nil {
		t.Error(err)
	}
	if got := FirstWork(&f, box, letter, keeper); got != 6 {
		t.Errorf("%d bits of work", got)
	}
	for name, err := range map[string]error{
		"box":    CheckFirst(&f, private[key.Mailbox]("x").Public(), letter, keeper, testNow),
		"letter": CheckFirst(&f, box, hash("x"), keeper, testNow),
		"keeper": CheckFirst(&f, box, letter, keepers(2)[1].Key, testNow),
	} {
		if !errors.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckFirst(&f, box, letter, keeper, f.Expires); !errors.Is(err, fault.Expired) {
		t.Errorf("at its end: %v", err)
	}
	f.Expires++
	if err := CheckFirst(&f, box, letter, keeper, testNow); !errors.Is(err, fault.Denied) {
		t.Errorf("another end: %v", err)
	}
	f.Vouch.Vendor = hash("x")
	if err := CheckFirst(&f, box, letter, keeper, testNow); !errors.Is(err, bad) {
		t.Errorf("a vouch for another: %v", err)
	}
	bare := protocol.FirstContact{}
	StampFirst(&bare, box, letter, keeper, 12)
	if err := CheckFirst(&bare, box, letter, keeper, testNow); err != nil || FirstWork(&bare, box, letter, keeper) != 12 {
		t.Errorf("to an inbox: %v", err)
	}
	if FirstWork(&bare, box, hash("x"), keeper) != 0 || FirstWork(&bare, box, letter, keepers(2)[1].Key) != 0 {
		t.Error("work is counted twice")
	}
	bare.Stamp.Effort = 30
	if FirstWork(&bare, box, letter, keeper) != 0 {
		t.Error("work that was not done is counted")
	}
	StampFirst(&bare, box, letter, keeper, 0)
	if FirstWork(&bare, box, letter, keeper) != 0 || bare.Stamp != (protocol.Admission{}) {
		t.Error("no effort leaves a stamp")
	}
}

func TestVouch(t *testing.T) {
	v := vouch()
	if err := CheckVouch(v, testNow); err != nil {
		t.Error(err)
	}
	if err := CheckVouch(v, v.Expires); !errors.Is(err, fault.Expired) {
		t.Errorf("at its end: %v", err)
	}
	v.Vendor = hash("x")
	if err := CheckVouch(v, testNow); !errors.Is(err, fault.Denied) {
		t.Errorf("for another vendor: %v", err)
	}
	v.Vendor = protocol.Hash{}
	if err := CheckVouch(v, testNow); !errors.Is(err, bad) {
		t.Errorf("for nobody: %v", err)
	}
}

func TestReplyAndHello(t *testing.T) {
	receiptless := depositReceipt()
	receiptless.Sig = nil
	for name, v := range map[string]protocol.Reply{
		"text": {N: 1, Text: long}, "receipt": {N: 1, Receipt: receiptless}, "box": {Box: smallOrder},
		"keepers": {N: 1, Keepers: make([]protocol.Keeper, protocol.MaxList+1)},
	} {
		if err := Unmarshal(must(Marshal(v)), new(protocol.Reply), protocol.MaxFrame); !errors.Is(err, bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, row := range map[string]struct {
		v    protocol.Hello
		want fault.Kind
	}{
		"version": {protocol.Hello{V: 2, Nonce: id("n"), Net: testNet}, newer}, "no nonce": {protocol.Hello{V: 1, Net: testNet}, bad},
		"no net": {protocol.Hello{V: 1, Nonce: id("n")}, bad},
	} {
		if _, _, err := decodeHello(must(Marshal(row.v))); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := hello(protocol.Hash{})
	for name, row := range map[string]struct {
		raw  []byte
		want error
		by   protocol.VendorID
	}{
		"nobody": {plain, nil, protocol.Hash{}}, "operator": {hello(hash("vendor")), nil, hash("vendor")},
		"unknown critical key":     {with(plain, "\x04\x01"), newer, protocol.Hash{}},
		"operator of another form": {with(plain, "\x18\x80\x01"), nil, protocol.Hash{}},
		"operator too short":       {with(plain, "\x18\x80\x42\x01\x02"), nil, protocol.Hash{}},
		"another ignorable key":    {with(plain, "\x18\x81\x01"), nil, protocol.Hash{}},
		"unsorted":                 {with(plain, "\x18\x81\x01", "\x18\x80\x01"), bad, protocol.Hash{}},
		"zero operator":            {with(plain, "\x18\x80\x58\x20"+string(make([]byte, 32))), bad, protocol.Hash{}},
		"too long":                 {with(plain, "\x18\x81\x59\x04\x00"+strings.Repeat("x", 1024)), bad, protocol.Hash{}},
	} {
		_, says, err := decodeHello(row.raw)
		if !errors.Is(err, row.want) || err == nil && (says.Operator != row.by || says.Clock != 0) {
			t.Errorf("%s: operator %s, clock %d, %v", name, says.Operator.Short(), says.Clock, err)
		}
	}
}

func TestToldReceipts(t *testing.T) {
	r := depositReceipt()
	if got := ReceiptsOf(toldExtra(2)); len(got) != 2 || !reflect.DeepEqual(got[0], r) {
		t.Fatalf("read %d receipts", len(got))
	}
	if x := must(ReceiptsExtra(slices.Repeat([]protocol.DepositReceipt{r}, MaxTold+1))); len(ReceiptsOf(x)) != MaxTold {
		t.Errorf("more than %d were written", MaxTold)
	}
	forged := r
	forged.Expires++
	if got := ReceiptsOf(must(ReceiptsExtra([]protocol.DepositReceipt{forged, r}))); len(got) != 1 {
		t.Errorf("of a forged and a true receipt %d were read", len(got))
	}
	many := append(append([]byte{}, firstExtra...), must(Marshal(&told{slices.Repeat([]protocol.DepositReceipt{r}, MaxTold+1)}))...)
	for name, x := range map[string]protocol.Extra{
		"none": nil, "another form": protocol.Extra("\x18\x80\x01"), "another key": protocol.Extra("\x18\x81\x01"),
		"an unknown key": protocol.Extra("\x18\x80\xa1\x02\x01"), "too many": many,
	} {
		if got := ReceiptsOf(x); len(got) != 0 {
			t.Errorf("%s: %d receipts", name, len(got))
		}
	}
}
