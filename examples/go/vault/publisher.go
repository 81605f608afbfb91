package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/status"

	pb "example.com/first-steps/gen/messagevault/v1"
)

// How long one attempt may take, and all attempts for one batch.
const (
	attemptMax = 10 * time.Second
	publishMax = 60 * time.Second
)

// PublishError is a batch that was given up.
type PublishError struct {
	// MaybeStored tells whether the batch may be stored all the same.
	MaybeStored bool
	// Err is how the last attempt failed: a gRPC status.
	Err error
}

func (e *PublishError) Error() string {
	outcome := "was not stored"
	if e.MaybeStored {
		outcome = "may or may not be stored"
	}
	return fmt.Sprintf("the batch %s: %v", outcome, e.Err)
}

// Unwrap gives the gRPC status.
func (e *PublishError) Unwrap() error { return e.Err }

// Publisher publishes to one stream, a batch at a time, in order; a batch that has to be sent again is stored once.
// After a PublishError it is of no use any more: make another one.
type Publisher struct {
	nodes  *Nodes
	stream string
	// Nobody else may use this id at the same time.
	producerID string
	sequence   uint64
}

// NewPublisher makes a publisher for a stream.
func NewPublisher(nodes *Nodes, stream string) *Publisher {
	return &Publisher{nodes: nodes, stream: stream, producerID: rand.Text()}
}

// Publish publishes a batch, all or nothing; it returns when the batch is durable.
func (p *Publisher) Publish(ctx context.Context, records []*pb.Record) (*pb.PublishResponse, error) {
	request := &pb.PublishRequest{
		Stream:  p.stream,
		Records: records,
		// By this the vault knows a batch that it has stored already.
		Producer: &pb.Producer{Id: p.producerID, Sequence: p.sequence},
	}
	giveUpAt := time.Now().Add(publishMax)
	maybeStored := false
	for attempt := 0; ; attempt++ {
		response, err := p.publishOnce(ctx, request)
		if err == nil {
			p.sequence++
			return response, nil
		}
		failed := judge(err)
		maybeStored = maybeStored || failed.maybeStored
		pause := failed.pause(attempt)
		if !failed.retryable || time.Now().Add(pause).After(giveUpAt) {
			return nil, &PublishError{maybeStored, err}
		}
		if sleep(ctx, pause) != nil {
			return nil, &PublishError{maybeStored, err}
		}
		slog.Warn("publishing again", "because", status.Convert(err).Message())
		p.nodes.moveOn()
	}
}

func (p *Publisher) publishOnce(ctx context.Context, request *pb.PublishRequest) (*pb.PublishResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptMax)
	defer cancel()
	return p.nodes.client().Publish(ctx, request)
}
