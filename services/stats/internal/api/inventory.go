package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// ListPartitions implements relayv1.StatsServiceServer.
func (s *service) ListPartitions(ctx context.Context, request *relayv1.ListPartitionsRequest) (*relayv1.ListPartitionsResponse, error) {
	states, err := decodePartitionStates(request.GetStates())
	if err != nil {
		return nil, toStatus(err)
	}

	flow, page, err := s.openPage(request, "partitions", states, request.GetOwnerInstance())
	if err != nil {
		return nil, toStatus(err)
	}

	stats, err := sample(ctx, flow)
	if err != nil {
		return nil, toStatus(err)
	}

	matching := slices.DeleteFunc(stats.GetPartitions(), func(p *relayv1.PartitionStats) bool {
		return len(states) > 0 && !slices.Contains(states, p.GetState().String()) ||
			request.GetOwnerInstance() != "" && p.GetOwnerInstance() != request.GetOwnerInstance()
	})

	response := &relayv1.ListPartitionsResponse{SampleTime: stats.GetSampleTime(), UnknownBecause: stats.GetUnknownBecause()}
	response.Partitions, response.NextPageToken = cut(page, matching, func(p *relayv1.PartitionStats) string {
		return fmt.Sprintf("%010d", p.GetPartition())
	})

	return response, nil
}

// ListInstances implements relayv1.StatsServiceServer.
func (s *service) ListInstances(ctx context.Context, request *relayv1.ListInstancesRequest) (*relayv1.ListInstancesResponse, error) {
	roles, err := decodeRoles(request.GetRoles())
	if err != nil {
		return nil, toStatus(err)
	}

	flow, page, err := s.openPage(request, "instances", roles, "")
	if err != nil {
		return nil, toStatus(err)
	}

	stats, err := sample(ctx, flow)
	if err != nil {
		return nil, toStatus(err)
	}

	matching := slices.DeleteFunc(stats.GetInstances(), func(i *relayv1.InstanceStats) bool {
		return len(roles) > 0 && !slices.Contains(roles, i.GetRole().String())
	})

	response := &relayv1.ListInstancesResponse{SampleTime: stats.GetSampleTime(), UnknownBecause: stats.GetUnknownBecause()}
	response.Instances, response.NextPageToken = cut(page, matching, func(i *relayv1.InstanceStats) string {
		return strconv.Itoa(int(i.GetRole())) + "/" + i.GetInstance().GetId()
	})

	return response, nil
}

func decodePartitionStates(states []relayv1.PartitionState) ([]string, error) {
	names := make([]string, 0, len(states))

	for _, state := range states {
		if _, known := relayv1.PartitionState_name[int32(state)]; !known {
			return nil, &argumentError{"states", fmt.Sprintf("has %s, which is no state", state), "leave it empty for all, or list states"}
		}

		names = append(names, state.String())
	}

	return names, nil
}

func decodeRoles(roles []relayv1.InstanceRole) ([]string, error) {
	names := make([]string, 0, len(roles))

	for _, role := range roles {
		if role != relayv1.InstanceRole_INSTANCE_ROLE_LISTENER && role != relayv1.InstanceRole_INSTANCE_ROLE_PROCESSOR {
			return nil, &argumentError{"roles", fmt.Sprintf("has %s, which is no role", role), "leave it empty for all, or list roles"}
		}

		names = append(names, role.String())
	}

	return names, nil
}

// pageRequest is what the requests for pages of a sample have.
type pageRequest interface {
	GetFlow() string
	GetPageSize() int32
	GetPageToken() string
}

// page is a page of a list that every call makes anew: it begins behind a key,
// so that what came or went meanwhile moves nothing.
type page struct {
	size  int
	query []byte // fingerprint of what was asked for
	after string // key of the last entry of the page before; empty for the first page
}

// placeToken is what the next page is asked with.
type placeToken struct {
	Query []byte `json:"q"`
	After string `json:"a"`
}

// openPage finds the flow and checks that the token came with the same query.
func (s *service) openPage(request pageRequest, list string, filter []string, owner string) (Flow, *page, error) {
	flow, err := s.find(request.GetFlow())
	if err != nil {
		return nil, nil, err
	}

	size, err := decodePageSize(request.GetPageSize())
	if err != nil {
		return nil, nil, err
	}

	filter = slices.Compact(slices.Sorted(slices.Values(filter)))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %q %q", list, flow.Name(), strings.Join(filter, ","), owner))
	p := &page{size: size, query: sum[:8]}

	if request.GetPageToken() == "" {
		return flow, p, nil
	}

	decoded, err := base64.RawURLEncoding.DecodeString(request.GetPageToken())
	if err != nil {
		return nil, nil, deadletter.ErrPageToken
	}

	token := new(placeToken)
	if json.Unmarshal(decoded, token) != nil || !slices.Equal(token.Query, p.query) || token.After == "" {
		return nil, nil, deadletter.ErrPageToken
	}

	p.after = token.After

	return flow, p, nil
}

// cut takes the page out of a list in the order of its keys.
func cut[T any](p *page, list []T, key func(T) string) (entries []T, next string) {
	begin := 0
	for p.after != "" && begin < len(list) && key(list[begin]) <= p.after {
		begin++
	}

	list = list[begin:]
	if len(list) <= p.size {
		return list, ""
	}

	list = list[:p.size]
	text, _ := json.Marshal(placeToken{Query: p.query, After: key(list[p.size-1])}) //nolint:errchkjson // bytes and a text: it cannot fail

	return list, base64.RawURLEncoding.EncodeToString(text)
}
