// Package top shows a flow on a whole terminal, live.
//
//	Feed ──▶ messages ──▶ Model.Update ──▶ Model.View ──▶ terminal
//	  ▲                        │
//	  └──── chosen flow ───────┘
//
// The Model does no I/O and looks at no clock: what it shows follows from the messages alone. The Feed asks the stats
// service, and asks again when that was away.
package top
