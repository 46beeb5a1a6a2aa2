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

// String gives ordinary, special or child.
func (s Sensitivity) String() string {
	switch s {
	case Ordinary:
		return "ordinary"
	case Special:
		return "special"
	case Child:
		return "child"
	}
	return "unknown"
}

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

// fields is the vocabulary. Every DPV term is one of the extension pd of DPV 2.3
// (https://w3id.org/dpv/2.3/pd), spelt as there; a test compares. A name is never
// given another meaning, and none is ever taken out.
var fields = []FieldInfo{
	{"identity.name", "Full name", "pd:Name", Ordinary},
	{"identity.given-name", "Given names", "pd:Name", Ordinary},
	{"identity.family-name", "Family name", "pd:Name", Ordinary},
	{"identity.nickname", "What friends call her", "pd:Name", Ordinary},
	{"identity.id-number", "National identity number", "pd:OfficialID", Ordinary},
	{"identity.passport-number", "Passport number", "pd:Passport", Ordinary},
	{"identity.tax-number", "Tax number", "pd:Tax", Ordinary},
	{"identity.birth-date", "Date of birth", "pd:BirthDate", Ordinary},
	{"identity.birth-place", "Place of birth", "pd:BirthPlace", Ordinary},
	{"identity.nationality", "Nationality", "pd:Nationality", Ordinary},
	{"identity.photo", "Picture of her", "pd:Picture", Ordinary},

	{"contact.email", "E-mail address", "pd:EmailAddress", Ordinary},
	{"contact.work-email", "E-mail address at work", "pd:EmailAddressWork", Ordinary},
	{"contact.phone", "Telephone number", "pd:TelephoneNumber", Ordinary},
	{"contact.work-phone", "Telephone number at work", "pd:TelephoneNumber", Ordinary},
	{"contact.address", "Street address", "pd:PhysicalAddress", Ordinary},
	{"contact.delivery-address", "Address for deliveries", "pd:PhysicalAddress", Ordinary},
	{"contact.hours", "When to call", "pd:Contact", Ordinary},
	{"contact.channel", "How to reach her best", "pd:Communication", Ordinary},
	{"contact.language", "Preferred language", "pd:Language", Ordinary},
	{"contact.messenger", "Name on a messenger", "pd:Username", Ordinary},
	{"contact.social", "Social media", "pd:SocialMedia", Ordinary},

	{"location.postcode", "Postal code", "pd:Location", Ordinary},
	{"location.area", "Suburb or town", "pd:Location", Ordinary},
	{"location.city", "City", "pd:City", Ordinary},
	{"location.region", "Province or region", "pd:Region", Ordinary},
	{"location.country", "Country", "pd:Country", Ordinary},
	{"location.home", "Where home is, as coordinates", "pd:HomeLocation", Ordinary},

	{"household.size", "People in the household", "pd:FamilyStructure", Ordinary},
	{"household.home", "Kind of home", "pd:HouseOwned", Ordinary},
	{"household.partner", "Partner", "pd:Relationship", Ordinary},

	{"demographic.age-range", "Age range", "pd:AgeRange", Ordinary},
	{"demographic.gender", "Gender", "pd:Gender", Ordinary},
	{"demographic.marital-status", "Marital status", "pd:MaritalStatus", Ordinary},
	{"demographic.race", "Race", "pd:Race", Special},
	{"demographic.ethnic-origin", "Ethnic origin", "pd:EthnicOrigin", Special},

	{"financial.income-band", "Income band", "pd:IncomeBracket", Ordinary},
	{"financial.income", "Income", "pd:Income", Ordinary},
	{"financial.credit-band", "Credit score band", "pd:CreditScore", Ordinary},
	{"financial.credit-record", "Credit record", "pd:CreditRecord", Ordinary},
	{"financial.bank-account", "Bank account", "pd:BankAccount", Ordinary},
	{"financial.insurance", "Insurance held", "pd:Insurance", Ordinary},
	{"financial.loan", "Loans", "pd:LoanRecord", Ordinary},
	{"financial.status", "Financial situation", "pd:FinancialStatus", Ordinary},

	{"work.occupation", "Occupation", "pd:Job", Ordinary},
	{"work.employer", "Employer", "pd:CurrentEmployment", Ordinary},
	{"work.place", "Place of work", "pd:WorkLocation", Ordinary},
	{"work.experience", "Professional experience", "pd:ProfessionalExperience", Ordinary},
	{"work.union", "Trade union", "pd:TradeUnionMembership", Special},

	{"education.level", "Highest qualification", "pd:EducationQualification", Ordinary},
	{"education.school", "School or university", "pd:School", Ordinary},
	{"education.training", "Training", "pd:EducationTraining", Ordinary},

	{"interest.hobby", "Hobbies", "pd:Interest", Ordinary},
	{"interest.topic", "Subjects of interest", "pd:Interest", Ordinary},
	{"interest.sport", "Sport", "pd:Interest", Ordinary},
	{"interest.music", "Music", "pd:FavouriteMusic", Ordinary},

	{"need.list", "What she needs", "pd:Intention", Ordinary},
	{"need.later", "What she will need later", "pd:Intention", Ordinary},

	{"preference.brand", "Preferred makes", "pd:Preference", Ordinary},
	{"preference.delivery", "Delivery preference", "pd:Preference", Ordinary},
	{"preference.style", "Taste and style", "pd:Preference", Ordinary},
	{"preference.diet", "Diet", "pd:Preference", Ordinary},
	{"preference.food", "Favourite food", "pd:FavouriteFood", Ordinary},
	{"preference.colour", "Favourite colours", "pd:FavouriteColour", Ordinary},
	{"preference.dislike", "What she does not like", "pd:Dislike", Ordinary},
	{"preference.payment", "How she likes to pay", "pd:Preference", Ordinary},
	{"preference.privacy", "Privacy preferences", "pd:PrivacyPreference", Ordinary},

	{"vehicle.model", "Vehicle make and model", "pd:CarOwned", Ordinary},
	{"vehicle.year", "Vehicle year", "pd:CarOwned", Ordinary},
	{"vehicle.registration", "Vehicle registration", "pd:VehicalLicenseRegistration", Ordinary},
	{"vehicle.usage", "Use of the vehicle", "pd:VehicleUsage", Ordinary},

	{"device.model", "Device make and model", "pd:DeviceBased", Ordinary},
	{"device.system", "Operating system of the device", "pd:DeviceOperatingSystem", Ordinary},

	{"body.height", "Height", "pd:Height", Ordinary},
	{"body.weight", "Weight", "pd:Weight", Ordinary},
	{"body.size", "Sizes of clothes and shoes", "pd:PhysicalCharacteristic", Ordinary},

	{"health.condition", "Health condition", "pd:MedicalHealth", Special},
	{"health.disability", "Disability", "pd:Disability", Special},
	{"health.allergy", "Allergies", "pd:MedicalHealth", Special},
	{"health.blood-type", "Blood type", "pd:BloodType", Special},
	{"health.prescription", "Prescriptions", "pd:Prescription", Special},
	{"health.mental", "Mental health", "pd:MentalHealth", Special},
	{"health.record", "Health record", "pd:HealthRecord", Special},
	{"health.history", "Health history", "pd:IndividualHealthHistory", Special},
	{"health.family-history", "Health history of the family", "pd:FamilyHealthHistory", Special},

	{"belief.religion", "Religion", "pd:Religion", Special},
	{"belief.philosophy", "Philosophical belief", "pd:PhilosophicalBelief", Special},
	{"belief.politics", "Political opinion", "pd:PoliticalOpinion", Special},

	{"sexuality.preference", "Sexual orientation", "pd:SexualPreference", Special},
	{"biometric.fingerprint", "Fingerprint", "pd:Fingerprint", Special},
	{"biometric.face", "Print of the face", "pd:FacialPrint", Special},
	{"record.criminal", "Criminal record", "pd:CriminalConviction", Special},

	{"child.name", "Name of a child", "pd:Offspring", Child},
	{"child.age", "Age of a child", "pd:Age", Child},
	{"child.school-grade", "School grade of a child", "pd:Education", Child},
	{"child.health", "Health of a child", "pd:Health", Child},
	{"child.interest", "Interests of a child", "pd:Interest", Child},

	{"achievement.licence", "Licences held", "pd:ProfessionalCertification", Ordinary},
	{"achievement.certificate", "Certificates", "pd:ProfessionalCertification", Ordinary},
	{"achievement.qualification", "Qualifications", "pd:EducationQualification", Ordinary},
	{"achievement.reference", "References", "pd:Reference", Ordinary},

	{"history.purchase", "Earlier purchases of this kind", "pd:PurchasesAndSpendingHabit", Ordinary},
	{"history.life", "Events of her life", "pd:LifeHistory", Ordinary},
	{"history.work", "Earlier work", "pd:WorkHistory", Ordinary},
	{"history.education", "Earlier education", "pd:EducationExperience", Ordinary},
	{"history.travel", "Travels", "pd:TravelHistory", Ordinary},

	{"document.identity", "Identity document", "pd:PersonalDocuments", Ordinary},
	{"document.passport", "Passport", "pd:Passport", Ordinary},
	{"document.licence", "Driving licence", "pd:VehicleLicense", Ordinary},
	{"document.address-proof", "Proof of address", "pd:PersonalDocuments", Ordinary},
	{"document.income-proof", "Proof of income", "pd:Salary", Ordinary},
	{"document.bank-statement", "Bank statement", "pd:FinancialAccount", Ordinary},
	{"document.cv", "Curriculum vitae", "pd:WorkHistory", Ordinary},
	{"document.certificate", "Certificate", "pd:ProfessionalCertification", Ordinary},
	{"document.medical", "Medical document", "pd:HealthRecord", Special},
}

// byName finds a field of the vocabulary.
var byName = func() map[FieldName]FieldInfo {
	m := make(map[FieldName]FieldInfo, len(fields))
	for _, f := range fields {
		m[f.Name] = f
	}
	return m
}()

// Fields lists the vocabulary.
func Fields() []FieldInfo { return slices.Clone(fields) }

// Info looks a field up.
func (f FieldName) Info() (FieldInfo, bool) {
	i, ok := byName[f]
	return i, ok
}

// strictest is the strictest class in each group of the vocabulary.
var strictest = func() map[string]Sensitivity {
	m := map[string]Sensitivity{}
	for _, f := range fields {
		group := f.Name.group()
		m[group] = max(m[group], f.Class)
	}
	return m
}()

func (f FieldName) group() string { group, _, _ := strings.Cut(string(f), "."); return group }

// Class is that of the vocabulary. A name that is not in it takes the strictest class of
// its group, since what stands beside a health condition is likely to be another; where
// the group is unknown too, it is ordinary.
func (f FieldName) Class() Sensitivity {
	if i, ok := byName[f]; ok {
		return i.Class
	}
	return max(Ordinary, strictest[f.group()])
}

// NearFields gives up to n names of the vocabulary that a mistyped one may have meant.
func NearFields(f FieldName, n int) []string {
	all := make([]string, len(fields))
	for i := range fields {
		all[i] = string(fields[i].Name)
	}
	return Near(string(f), all, n)
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
