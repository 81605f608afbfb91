package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "example.com/first-steps/gen/messagevault/v1"
)

const (
	heartbeat = 5 * time.Second
	// A connection that brings neither records nor heartbeats for so long is given up.
	silenceMax = 3 * heartbeat
)

// Subscribe yields runs of records, and heartbeats, from the requested start to the requested end. It resumes by itself
// behind what was yielded, for as long as it takes, and reads no faster than it is iterated. It ends early, without an
// error, when ctx does. An error is yielded last, where trying again is of no use: a gRPC status.
func Subscribe(ctx context.Context, nodes *Nodes, request *pb.SubscribeRequest) iter.Seq2[*pb.SubscribeResponse, error] {
	return func(yield func(*pb.SubscribeResponse, error) bool) {
		resume := proto.CloneOf(request)
		resume.HeartbeatInterval = durationpb.New(heartbeat)
		attempt := 0
		for {
			stopped := false
			err := receive(ctx, nodes, resume, func(response *pb.SubscribeResponse) bool {
				attempt = 0
				resumeBehind(resume, response)
				stopped = !yield(response, nil)
				return !stopped
			})
			if stopped || err == nil || ctx.Err() != nil {
				return
			}
			failed := judge(err)
			if !failed.retryable {
				yield(nil, err)
				return
			}
			slog.Warn("subscribing again", "because", status.Convert(err).Message())
			nodes.moveOn()
			if sleep(ctx, failed.pause(attempt)) != nil {
				return
			}
			attempt++
		}
	}
}

// receive passes on what one call brings until take returns false or the call ends; nil where that was the end that
// was asked for.
func receive(
	ctx context.Context, nodes *Nodes, request *pb.SubscribeRequest, take func(*pb.SubscribeResponse) bool,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(silenceMax, func() { cancel(fmt.Errorf("silent for %v", silenceMax)) })
	defer silent.Stop()
	call, err := nodes.client().Subscribe(ctx, request)
	if err != nil {
		return err
	}
	for {
		silent.Reset(silenceMax)
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// The time that the records take to be worked on is no silence.
		silent.Stop()
		if !take(response) {
			return nil
		}
	}
}

// resumeBehind makes the request go on behind the response.
func resumeBehind(request *pb.SubscribeRequest, response *pb.SubscribeResponse) {
	request.Start = &pb.SubscribeRequest_Offset{Offset: response.GetNextOffset()}
	// Were the stream deleted and made anew, its offsets would mean other records.
	if response.GetIncarnation() != "" {
		request.Incarnation = response.GetIncarnation()
	}
	// The tail as it stood at first, not as it will stand then.
	if _, tail := request.GetEnd().(*pb.SubscribeRequest_UntilTail); tail {
		request.End = &pb.SubscribeRequest_UntilOffset{UntilOffset: response.GetTailOffset()}
	}
}
