package pull

import (
	"context"

	"github.com/harkmarket/hark/node/internal/keeper/client"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire"
)

// passports fetches those of vendors that this node does not know. A vendor that it
// knows brings newer ones itself.
func (p *Puller) passports(ctx context.Context, s *client.Session) error {
	var after protocol.VendorID
	for seen := 0; seen < maxVendors; {
		var ids []protocol.VendorID
		var more bool
		err := patiently(ctx, func() (err error) {
			ids, more, err = s.Vendors(ctx, after)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range p.worthPulling(ids) {
			if err := p.passport(ctx, s, id); err != nil {
				return err
			}
		}
		if !more || len(ids) == 0 {
			return nil
		}
		seen += len(ids)
		after = ids[len(ids)-1]
	}
	return nil
}

func (p *Puller) passport(ctx context.Context, s *client.Session, id protocol.VendorID) error {
	if p.cfg.Board.Knows(id) {
		return nil
	}
	var raws [][]byte
	err := patiently(ctx, func() (err error) {
		raws, err = s.Passports(ctx, id)
		return err
	})
	if err != nil {
		return err
	}
	c, err := wire.OpenChain(raws, p.cfg.Client.Net)
	if err != nil || c.Vendor() != id {
		p.refuse(id)
		return nil
	}
	if err := p.cfg.KeepChain(ctx, c); err != nil {
		p.refuse(id)
	}
	return nil
}
