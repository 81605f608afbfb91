// Command otlp-receiver takes traces by the OpenTelemetry Collector's own OTLP receiver, over gRPC and HTTP, keeps them
// in memory, and tells them to the test that started it.
//
// It prints one line of JSON with its addresses, and runs until its standard input ends.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

// A traces is what came in, in the order in which it came.
type traces struct {
	mutex    sync.Mutex
	received ptrace.Traces
}

func (t *traces) consume(_ context.Context, batch ptrace.Traces) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	batch.ResourceSpans().MoveAndAppendTo(t.received.ResourceSpans())
	return nil
}

// ServeHTTP answers any request with all spans, as OTLP's JSON.
func (t *traces) ServeHTTP(response http.ResponseWriter, _ *http.Request) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(t.received)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	response.Header().Set("content-type", "application/json")
	_, _ = response.Write(text)
}

// Takes a port that is free now.
func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func main() {
	ctx := context.Background()
	received := &traces{received: ptrace.NewTraces()}
	sink, err := consumer.NewTraces(received.consume)
	if err != nil {
		log.Fatal(err)
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	grpcAddress, httpAddress := freeAddress(), freeAddress()
	config.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = grpcAddress
	config.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = httpAddress
	settings := receiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	otlp, err := factory.CreateTraces(ctx, settings, config, sink)
	if err != nil {
		log.Fatal(err)
	}
	if err := otlp.Start(ctx, componenttest.NewNopHost()); err != nil {
		log.Fatal(err)
	}
	query, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(query, received)) }()
	line, _ := json.Marshal(map[string]string{"grpc": grpcAddress, "http": httpAddress, "query": query.Addr().String()})
	fmt.Println(string(line))
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = otlp.Shutdown(ctx)
}
