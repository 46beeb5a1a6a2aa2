package protocol

import (
	"slices"
	"strings"
)

// A FieldName names a vault field, as "group.thing". The list is this project's;
// DPV names the same thing in W3C DPV 2.3's personal-data vocabulary.
type FieldName string

// A Sensitivity is the class of a field in law.
type Sensitivity uint8

// The classes: POPIA ss 26-33 (special personal information) and 34-35 (children).
const (
	Ordinary Sensitivity = 1
	Special  Sensitivity = 2
	Child    Sensitivity = 3
)

// A FieldInfo describes a field of the vocabulary.
type FieldInfo struct {
	Name  FieldName
	Title string
	DPV   string
	Class Sensitivity
}

var fields = []FieldInfo{
	{"identity.name", "Full name", "pd:Name", Ordinary},
	{"identity.id-number", "National identity number", "pd:OfficialID", Ordinary},
	{"identity.birth-date", "Date of birth", "pd:BirthDate", Ordinary},
	{"contact.email", "E-mail address", "pd:EmailAddress", Ordinary},
	{"contact.phone", "Telephone number", "pd:TelephoneNumber", Ordinary},
	{"contact.address", "Street address", "pd:PhysicalAddress", Ordinary},
	{"contact.hours", "When to call", "pd:Contact", Ordinary},
	{"contact.language", "Preferred language", "pd:Language", Ordinary},
	{"location.postcode", "Postal code", "pd:Location", Ordinary},
	{"location.area", "Suburb or town", "pd:Location", Ordinary},
	{"household.size", "People in the household", "pd:FamilyStructure", Ordinary},
	{"household.home", "Kind of home", "pd:HouseOwned", Ordinary},
	{"demographic.age-range", "Age range", "pd:AgeRange", Ordinary},
	{"financial.income-band", "Income band", "pd:IncomeBracket", Ordinary},
	{"financial.credit-band", "Credit score band", "pd:CreditScore", Ordinary},
	{"work.occupation", "Occupation", "pd:Profession", Ordinary},
	{"education.level", "Highest qualification", "pd:EducationQualification", Ordinary},
	{"preference.brand", "Preferred makes", "pd:Preference", Ordinary},
	{"preference.delivery", "Delivery preference", "pd:Preference", Ordinary},
	{"preference.style", "Taste and style", "pd:Preference", Ordinary},
	{"preference.diet", "Diet", "pd:DietaryPreference", Ordinary},
	{"vehicle.model", "Vehicle make and model", "pd:CarOwned", Ordinary},
	{"vehicle.year", "Vehicle year", "pd:CarOwned", Ordinary},
	{"device.model", "Device make and model", "pd:DeviceBased", Ordinary},
	{"health.condition", "Health condition", "pd:MedicalHealth", Special},
	{"health.disability", "Disability", "pd:Disability", Special},
	{"belief.religion", "Religion", "pd:Religion", Special},
	{"child.age", "Age of a child", "pd:Age", Child},
	{"child.school-grade", "School grade of a child", "pd:Education", Child},
	{"achievement.licence", "Licences held", "pd:ProfessionalCertification", Ordinary},
	{"history.purchase", "Earlier purchases of this kind", "pd:PurchasesAndSpendingHabit", Ordinary},
}

// Fields lists the vocabulary.
func Fields() []FieldInfo { return slices.Clone(fields) }

// Info looks a field up.
func (f FieldName) Info() (FieldInfo, bool) {
	for _, i := range fields {
		if i.Name == f {
			return i, true
		}
	}
	return FieldInfo{}, false
}

// WellFormed reports whether f has the shape "group.thing": lower-case letters,
// digits and hyphens around one dot, at most 48 bytes. A newer node may use names
// that are not in this list.
func (f FieldName) WellFormed() bool {
	group, thing, ok := strings.Cut(string(f), ".")
	return ok && len(f) <= 48 && slug(group) && slug(thing)
}

func slug(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}

// Template gives the three fields that a need in category c puts on offer unless
// its owner says otherwise: equal for all needs of a sector, so that the choice
// tells nothing about her.
func Template(c Category) []FieldName {
	switch c.Sector() {
	case "vehicles", "transport":
		return []FieldName{"location.area", "vehicle.model", "contact.hours"}
	case "insurance", "finance":
		return []FieldName{"location.area", "demographic.age-range", "contact.hours"}
	case "telecom", "electronics", "computing":
		return []FieldName{"location.area", "preference.brand", "contact.hours"}
	}
	return []FieldName{"location.area", "preference.delivery", "contact.hours"}
}

// Ladder gives the smallest step of the 1-2-5 price ladder that is at least minor
// (1, 2, 5, 10, 20, 50, …): coarse prices link needs less. Zero stays zero.
func Ladder(minor int64) int64 {
	if minor <= 0 {
		return 0
	}
	for step := int64(1); step <= 1e15; step *= 10 {
		for _, m := range []int64{1, 2, 5} {
			if step*m >= minor {
				return step * m
			}
		}
	}
	return minor
}
