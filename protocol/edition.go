//go:build !hark_prev && !hark_next

package protocol

// Edition says which program this one was built to stand for, so that tests can run
// several in one network: 0 the present one; with the build tag hark_prev -1, the step
// before it, which knows no operation from OpRanges on and says nothing aside; with
// hark_next 1, a step to come, which says things under ignorable keys and asks
// operations that the present one does not know.
const Edition = 0
