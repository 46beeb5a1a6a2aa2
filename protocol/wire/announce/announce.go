// Package announce decodes announcements by hand: they are the one message that
// a node reads by the thousand for others. Tests hold it against canon.Decode, value
// by value and error by error.
package announce

import (
	"math"

	"github.com/harkmarket/hark/crypto/key"
	"github.com/harkmarket/hark/protocol"
	"github.com/harkmarket/hark/protocol/wire/canon"
)

// KeyAdmission is the key of Announcement.Admission.
const KeyAdmission = 127

// Decode reads a payload that was walked, without its ignorable pairs, as canon.Decode
// does.
func Decode(raw []byte, a *protocol.Announcement) error {
	r := canon.NewReader(raw)
	for range r.Map() {
		if k := r.Key(); k < 16 {
			decodeHeader(&r, k, &a.Header)
		} else {
			decodeOffered(&r, k, a)
		}
		if r.Err() != nil {
			return r.Err()
		}
	}
	return r.Err()
}

func decodeHeader(r *canon.Reader, k uint64, h *protocol.Header) {
	switch k {
	case 1:
		h.V = uint8(r.Uint(math.MaxUint8))
	case 2:
		r.Fixed(h.Net[:])
	case 3:
		h.Kind = protocol.Kind(r.Uint(math.MaxUint8))
	case 4:
		h.Alg = uint8(r.Uint(math.MaxUint8))
	case 5:
		r.Fixed(h.ID[:])
	case 6:
		r.Fixed(h.From[:])
	case 7:
		r.Fixed(h.To[:])
	case 8:
		r.Fixed(h.Context[:])
	case 9:
		h.Seq = r.Uint(math.MaxUint64)
	case 10:
		h.Created = protocol.Second(r.Uint(math.MaxUint64))
	case 11:
		h.Expires = protocol.Second(r.Uint(math.MaxUint64))
	case 12:
		r.Fixed(h.Re[:])
	default:
		r.Unknown(k)
	}
}

func decodeOffered(r *canon.Reader, k uint64, a *protocol.Announcement) {
	switch k {
	case 16:
		a.Status = protocol.Status(r.Uint(math.MaxUint8))
	case 17:
		a.Reason = protocol.ContextKind(r.Uint(math.MaxUint8))
	case 18:
		a.Category = protocol.Category(r.Text())
	case 19:
		a.Region = protocol.Region(r.Text())
	case 20:
		if err := a.Seal.UnmarshalBinary(r.Bytes()); err != nil {
			r.Misfit(err.Error())
		}
	case 21:
		a.Fields = listOf(r, decodeField)
	case 22:
		r.Fixed(a.Terms[:])
	case 23:
		a.Issuers = make([]key.IssuerKey, r.List(canon.MaxFixed))
		for i := range a.Issuers {
			r.Fixed(a.Issuers[i][:])
		}
	case 24:
		a.Keepers = listOf(r, decodeKeeper)
	case 25:
		r.Fixed(a.Mailbox[:])
	case 26:
		a.Body = r.Bytes()
	case 27:
		r.Fixed(a.Commitment[:])
	case KeyAdmission:
		decodePairs(r, &a.Admission, decodeAdmission)
	default:
		r.Unknown(k)
	}
}

func listOf[T any](r *canon.Reader, pair func(*canon.Reader, uint64, *T)) []T {
	all := make([]T, r.List(canon.MaxItems))
	for i := range all {
		decodePairs(r, &all[i], pair)
	}
	return all
}

func decodePairs[T any](r *canon.Reader, v *T, pair func(*canon.Reader, uint64, *T)) {
	for range r.Map() {
		pair(r, r.Key(), v)
	}
}

func decodeField(r *canon.Reader, k uint64, f *protocol.FieldOnOffer) {
	switch k {
	case 1:
		f.Name = protocol.FieldName(r.Text())
	case 2:
		decodePairs(r, &f.Floor, decodeMoney)
	default:
		r.Unknown(k)
	}
}

func decodeMoney(r *canon.Reader, k uint64, m *protocol.Money) {
	switch k {
	case 1:
		m.Minor = int64(r.Uint(math.MaxInt64))
	case 2:
		m.Currency = protocol.Currency(r.Text())
	default:
		r.Unknown(k)
	}
}

func decodeKeeper(r *canon.Reader, k uint64, v *protocol.Keeper) {
	switch k {
	case 1:
		r.Fixed(v.Key[:])
	case 2:
		v.Addrs = make([][]byte, r.List(canon.MaxItems))
		for i := range v.Addrs {
			v.Addrs[i] = r.Bytes()
		}
	default:
		r.Unknown(k)
	}
}

func decodeAdmission(r *canon.Reader, k uint64, v *protocol.Admission) {
	switch k {
	case 1:
		v.Lane = uint8(r.Uint(math.MaxUint8))
	case 2:
		v.Effort = uint8(r.Uint(math.MaxUint8))
	case 3:
		v.Nonce = r.Uint(math.MaxUint64)
	default:
		r.Unknown(k)
	}
}
