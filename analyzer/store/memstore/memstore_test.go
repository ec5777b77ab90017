package memstore_test

import (
	"testing"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/store/memstore"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) analyzer.Store { return &memstore.Store{} })
}
