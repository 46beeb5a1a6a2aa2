package rules

import "github.com/harkmarket/hark/protocol"

// checkDealing: the kinds that follow a grant. All name it, but an Ack before there is one.
func checkDealing(r *rules, m protocol.Message) {
	switch m := m.(type) {
	case *protocol.Offer:
		checkOffer(r, m)
	case *protocol.DealStep:
		r.must(!m.Re.IsZero() && !m.Grant.IsZero() && !m.Offer.IsZero(), "names no grant, offer or message")
		r.money(m.Price, "price")
		r.text(m.Note, "note", protocol.MaxText)
	case *protocol.Revocation:
		r.must(!m.Grant.IsZero(), "names no grant")
		r.must(m.Deadline >= m.Created, "deadline")
		r.text(m.Reason, "reason", protocol.MaxText)
	case *protocol.Deletion:
		checkDeletion(r, m)
	case *protocol.Right:
		checkRight(r, m)
	case *protocol.Answer:
		r.must(!m.Re.IsZero() && !m.Grant.IsZero(), "names no grant or right")
		r.must(m.Status != 0, "no status")
		r.known(m.Status <= protocol.RequestRejected, "status")
		r.values(m.Values)
		r.text(m.Text, "text", protocol.MaxText)
	case *protocol.Breach:
		checkBreach(r, m)
	case *protocol.Pause:
		r.must(!m.Grant.IsZero(), "names no grant")
		r.text(m.Reason, "reason", protocol.MaxText)
	case *protocol.Ack:
		r.must(len(m.Acked) > 0 && len(m.Acked) <= protocol.MaxAcked, "number of acknowledged messages")
		for _, h := range m.Acked {
			r.must(!h.IsZero(), "acknowledges nothing")
		}
	default:
		r.known(false, "kind")
	}
}

// checkOffer: to the context itself, answering a disclosure, with a product and a title. A
// price that is absent means on request.
func checkOffer(r *rules, m *protocol.Offer) {
	r.must(m.To == m.Context, "reader is not the context")
	r.must(!m.Re.IsZero() && !m.Grant.IsZero(), "names no grant or disclosure")
	r.must(m.Product != "" && m.Title != "", "no product or title")
	r.line(m.Product, "product", protocol.MaxName)
	r.line(m.Title, "title", protocol.MaxName)
	r.text(m.Description, "description", protocol.MaxText)
	r.money(m.Price, "price")
	r.known(m.Condition <= protocol.Refurbished, "condition")
	if m.Region != "" {
		r.region(m.Region, "region")
	}
}

// checkDeletion: what is gone, from where, and what the law keeps.
func checkDeletion(r *rules, m *protocol.Deletion) {
	r.must(!m.Grant.IsZero(), "names no grant")
	r.lines(m.Deleted, "deleted")
	r.lines(m.Where, "where")
	r.must(len(m.Kept) <= protocol.MaxList, "kept")
	for _, k := range m.Kept {
		r.must(k.What != "" && k.Law != "", "kept without what or law")
		r.line(k.What, "kept", protocol.MaxName)
		r.line(k.Law, "law", protocol.MaxText)
	}
}

// checkRight: values belong to a correction alone.
func checkRight(r *rules, m *protocol.Right) {
	r.must(!m.Grant.IsZero(), "names no grant")
	r.must(m.Exercise != 0, "no right")
	r.known(m.Exercise <= protocol.RightObjection, "right")
	fieldNames(r, m.Fields, func(f protocol.FieldName) protocol.FieldName { return f })
	r.values(m.Values)
	r.must(len(m.Values) == 0 || m.Exercise == protocol.RightCorrection, "values without a correction")
	r.must(m.Deadline >= m.Created, "deadline")
}

func checkBreach(r *rules, m *protocol.Breach) {
	r.must(!m.Grant.IsZero(), "names no grant")
	r.must(m.What != "", "says nothing")
	r.text(m.What, "what", protocol.MaxText)
	r.text(m.Advice, "advice", protocol.MaxText)
	fieldNames(r, m.Fields, func(f protocol.FieldName) protocol.FieldName { return f })
}
