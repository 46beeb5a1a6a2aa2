package api

import (
	"context"
	"net/http"

	"github.com/harkmarket/hark/node/desk"
)

// node makes the operations on the node itself.
func (r *routes) node() {
	net, admin := r.s.house.Network, r.s.house.Admin
	type peers struct {
		Items []desk.Peer `json:"items"`
	}
	type phrase struct {
		Passphrase string `json:"passphrase" maxLength:"1024" doc:"The vault's passphrase"`
	}
	add(r, op{id: "get-status", verb: http.MethodGet, path: "/status", tag: "node", does: "Show how the node is",
		more: "Problems come first, each with the command that mends it; every bound is shown with its fill."},
		func(ctx context.Context, _ *none) (desk.Status, error) {
			s, err := admin().Status(ctx)
			s.Problems, s.Bounds, s.Ways = full(s.Problems), full(s.Bounds), full(s.Ways)
			return s, err
		})
	add(r, op{id: "list-peers", verb: http.MethodGet, path: "/peers", tag: "node", does: "List the public nodes that this one knows"},
		func(ctx context.Context, _ *none) (peers, error) {
			p, err := net().Peers(ctx)
			return peers{full(p)}, err
		})
	add(r, op{id: "check-network", verb: http.MethodGet, path: "/netcheck", tag: "node", does: "Look how the network does from here",
		more: "Each question is answered with yes, no, or not known yet, or with off where the settings turn off what it is about. It opens a few connections of its own to find out, and changes nothing."},
		func(ctx context.Context, _ *none) (desk.Netcheck, error) {
			v, err := net().Check(ctx)
			v.Checks = full(v.Checks)
			return v, err
		})
	add(r, op{id: "get-network", verb: http.MethodGet, path: "/network", tag: "node", does: "Show the network that this node is in"},
		func(ctx context.Context, _ *none) (desk.NetworkInfo, error) { return net().Info(ctx) })
	add(r, op{id: "get-identity", verb: http.MethodGet, path: "/id", tag: "node", does: "Show who this node is"},
		func(ctx context.Context, _ *none) (desk.Identity, error) { return net().Self(ctx) })
	act(r, op{id: "unlock", verb: http.MethodPost, free: true, path: "/unlock", tag: "node", does: "Open the vault"},
		func(ctx context.Context, in *with[phrase]) error {
			secret := []byte(in.Body.Passphrase)
			defer clear(secret)
			return admin().Unlock(ctx, secret)
		})
	act(r, op{id: "lock", verb: http.MethodPost, free: true, path: "/lock", tag: "node", does: "Close the vault; keys leave memory"},
		func(ctx context.Context, _ *none) error { return admin().Lock(ctx) })
	act(r, op{id: "stop", verb: http.MethodPost, free: true, path: "/stop", tag: "node", does: "Stop the node", status: http.StatusAccepted,
		more: "Answers before it stops; the node is down when /healthz no longer answers."},
		func(ctx context.Context, _ *none) error { return admin().Stop(ctx) })
	type letters struct {
		Sent  bool   `query:"sent" doc:"Letters sent; otherwise letters received"`
		Limit int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"At most so many items"`
		After string `query:"after" maxLength:"256" doc:"The next of the page before"`
		State string `query:"state" maxLength:"64" doc:"Only in this delivery state"`
		Kind  string `query:"kind" maxLength:"64" doc:"Only of this kind"`
	}
	add(r, op{id: "list-letters", verb: http.MethodGet, path: "/letters", tag: "node", does: "List letters as their sender or reader saw them",
		more: "The two sides' reports together convict a keeper that gave a receipt and lost the letter."},
		func(ctx context.Context, in *letters) (desk.Page[desk.LetterReport], error) {
			p, err := admin().Letters(ctx, in.Sent, desk.Query{Limit: in.Limit, After: in.After, State: in.State, Kind: in.Kind})
			p.Items = full(p.Items)
			return p, err
		})
}
