// Package vault publishes to a Message Vault and follows its streams through failovers. Copy it as it is.
package vault

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "example.com/first-steps/gen/messagevault/v1"
)

const (
	pauseFirst = 100 * time.Millisecond
	pauseMax   = 2 * time.Second
)

// Nodes are the nodes of one vault, by address. Calls go to one of them until a call fails, then to the next.
type Nodes struct {
	connections []*grpc.ClientConn
	current     atomic.Int64
}

// Dial makes connections to addresses (host:port each) as they are needed.
func Dial(addresses []string) (*Nodes, error) {
	if len(addresses) == 0 {
		return nil, errors.New("give at least one address, such as 127.0.0.1:50051")
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// Without pings, a connection that a firewall forgot looks like a quiet stream.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: pauseFirst, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Retries are ours: only we know which requests may be repeated.
		grpc.WithDisableRetry(),
	}
	nodes := &Nodes{}
	for _, address := range addresses {
		connection, err := grpc.NewClient(address, options...)
		if err != nil {
			return nil, errors.Join(err, nodes.Close())
		}
		nodes.connections = append(nodes.connections, connection)
	}
	return nodes, nil
}

// Close closes all connections. What is under way fails.
func (n *Nodes) Close() error {
	var all []error
	for _, connection := range n.connections {
		all = append(all, connection.Close())
	}
	return errors.Join(all...)
}

// client is for calls to the node in use.
func (n *Nodes) client() pb.VaultServiceClient {
	return pb.NewVaultServiceClient(n.connections[int(n.current.Load())%len(n.connections)])
}

// moveOn takes the next node.
func (n *Nodes) moveOn() {
	n.current.Add(1)
}

// failure is what a failed call means.
type failure struct {
	// Whether the same request may succeed later.
	retryable bool
	// Whether the request may have been carried out all the same.
	maybeStored bool
	// How long the vault asks to wait; 0 where it says nothing.
	delay time.Duration
}

// After these it is not known what happened: the connection broke, or the answer was lost.
var outcomeUnknown = []codes.Code{
	codes.Unavailable, codes.Unknown, codes.Internal, codes.DeadlineExceeded, codes.Canceled,
}

// judge tells what a failed call means, by its status code, ErrorInfo and RetryInfo.
func judge(err error) failure {
	received := status.Convert(err)
	var found failure
	ours, notStored := false, false
	for _, detail := range received.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			ours = detail.GetDomain() == "messagevault"
			notStored = ours && detail.GetReason() == "NOT_STORED"
		case *errdetails.RetryInfo:
			found.delay = detail.GetRetryDelay().AsDuration()
		}
	}
	// Of gRPC itself this code says that a message is too large: then it always will be.
	overloaded := received.Code() == codes.ResourceExhausted && ours
	unknown := slices.Contains(outcomeUnknown, received.Code())
	found.retryable = overloaded || unknown
	found.maybeStored = unknown && !notStored
	return found
}

// pause is how long to wait before the next attempt: longer each time, and never the same for all clients.
func (f failure) pause(attempt int) time.Duration {
	limit := min(pauseMax, pauseFirst<<min(attempt, 10))
	return f.delay + rand.N(limit)
}

// sleep waits; it returns the context's error if that ends first.
func sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}
