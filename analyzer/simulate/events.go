package simulate

import "time"

// scheduled writes what does not belong to the mass: launches, deploys,
// backups, rotations, an occasional broken release. Each comes at a rate of its
// own, so that a small log and a huge one tell about as many stories. A slot too
// thin to hold them has none.
func (g *traffic) scheduled(j job) {
	if float64(j.records)*g.run.o.KMSShare < 30 {
		return
	}
	p := j.place
	at := time.Unix(j.from, 0).UTC()
	span := int(j.to - j.from)
	busy := rhythm(at) > 1.5
	g.launches(j)
	if busy && g.r.chance(0.012) {
		g.deploy(p, j.from+int64(g.r.IntN(max(span-200, 1))))
	}
	if at.Hour() == 2 && at.Minute() == int(p.number%12)*5 {
		g.nightlyBackup(p, j.from)
	}
	if g.r.chance(0.02) {
		g.s.synchronized(j.from+int64(g.r.IntN(span)), p, p.appKeys[0])
	}
	// Each key rotates once a year.
	if g.r.chance(float64(len(p.all)) / 365 / 288) {
		k := p.all[g.r.IntN(len(p.all))]
		g.s.rotated(j.from+int64(g.r.IntN(span)), p, k, hexText(mix(text(k.id), 1), 64))
	}
	if busy && g.r.chance(0.002) {
		g.brokenRelease(p, j.from+int64(g.r.IntN(span/2+1)))
	}
}

// grantLife is how many slots a launch's grant lives before EC2 retires it.
const grantLife = 12

var ec2Operations = []string{
	"GenerateDataKeyWithoutPlaintext", "CreateGrant", "Encrypt", "ReEncryptFrom", "ReEncryptTo", "Decrypt", "DescribeKey", "RetireGrant",
}

// launches are instances of a scaling group with encrypted volumes: EC2 gets a
// grant for each instance and retires it when the instance goes.
func (g *traffic) launches(j job) {
	p := j.place
	each := func(slot uint64, write func(instance uint64)) {
		h := mix(g.run.o.Seed, p.number, slot, 71)
		if h%100 >= 4 {
			return
		}
		for i := range 1 + h>>32%3 {
			write(mix(h, i))
		}
	}
	grantOf := func(instance uint64) grant {
		return grant{
			grantee:    p.account.id + ":aws:ec2-infrastructure:i-0" + string(appendHex(nil, instance, 16)),
			operations: ec2Operations, id: instance,
		}
	}
	each(j.index, func(instance uint64) {
		at := j.from + int64(g.r.IntN(200))
		since := login(at, p.number)
		g.by = caller{who: identity{
			kind: assumedRole, role: p.account.scaling, session: "AutoScaling",
			login: mix(p.number, 8, bits(since)), since: since,
		}}
		by := g.by.forward("autoscaling.amazonaws.com")
		gr := grantOf(instance)
		volume := string(appendHex(nil, instance, 16))
		g.s.context("aws:ebs:id", "vol-0", volume)
		g.s.generateDataKeyAs(at, p, by, p.disks, false, p.disks.arn)
		g.s.createGrant(at+1, p, by, p.disks, &gr)
	})
	if j.index < grantLife {
		return
	}
	each(j.index-grantLife, func(instance uint64) {
		at := j.from + int64(g.r.IntN(250))
		g.by = caller{who: identity{
			kind: assumedRole, role: p.account.machines, sessions: instanceSession, instance: instance,
			login: instance, since: at - 60, ec2: true, invokedBy: awsInternal,
		}, ip: awsInternal, agent: awsInternal}
		gr := grantOf(instance)
		g.s.retireGrant(at, p, &g.by, p.disks, &gr)
	})
}

// deploy is Terraform over all keys of the account: it reads everything, and now
// and then writes back what is already there.
func (g *traffic) deploy(p *place, at int64) {
	since := at - 40
	g.by = caller{
		who: identity{
			kind: assumedRole, role: p.account.deploy, session: "plan-and-apply",
			login: g.r.Uint64(), since: since,
		},
		ip: natAddress(120), agent: agentTerraform, tls: true,
	}
	for i, k := range p.all {
		t := at + int64(i*3)
		for n, name := range []string{"DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags"} {
			g.s.inspect(t+int64(n/2), p, &g.by, name, k, k.id)
		}
		if g.r.chance(0.04) {
			g.s.putKeyPolicy(t+2, p, &g.by, k, defaultPolicy(p.account.id))
		}
	}
	g.s.list(at+int64(len(p.all)*3), p, &g.by, "ListAliases")
}

// nightlyBackup walks over every key within a few minutes.
func (g *traffic) nightlyBackup(p *place, at int64) {
	g.by = caller{who: identity{
		kind: assumedRole, role: p.account.backup, session: "AWSBackup-Nightly",
		login: g.r.Uint64(), since: at - 30,
	}}
	by := g.by.forward("backup.amazonaws.com")
	for i, k := range p.all {
		g.s.context("aws:backup:backup-vault", "nightly")
		g.s.generateDataKeyAs(at+int64(i*5), p, by, k, false, k.arn)
		g.s.decrypt(at+int64(i*5)+1, p, by, k, false)
	}
}

// brokenRelease is a service that lost its permission with a release; it tries
// again until somebody rolls back.
func (g *traffic) brokenRelease(p *place, at int64) {
	app := g.r.IntN(len(p.account.apps))
	by := g.roleCaller(p, at, app)
	for i := range int64(4 + g.r.IntN(16)) {
		g.s.denied(at+i*7, p, by, "Decrypt", p.appKeys[app], noIdentityPolicy+"kms:Decrypt action")
	}
}

// sharedCopies writes this place's copies of the calls between neighbours: ours
// on the next account's key, and those of the account before on ours.
func (g *traffic) sharedCopies(j job) {
	for i := range j.sent {
		g.sharedCall(j, j.place, j.next, uint64(i), false)
	}
	for i := range j.owned {
		g.sharedCall(j, j.before, j.place, uint64(i), true)
	}
}

// sharedCall derives the call from what both sides know, and writes one side.
func (g *traffic) sharedCall(j job, from, to *place, n uint64, owner bool) {
	h := mix(g.run.o.Seed, from.number, to.number, j.index, n)
	at := j.from + int64(unit(h)*float64(j.to-j.from))
	app := int(h>>20&0xffff) % len(from.account.apps)
	since := login(at, h>>32%4)
	by := &g.by
	*by = caller{ip: natAddress(from.account.number), agent: appAgents[app%len(appAgents)], tls: true}
	by.who = identity{
		kind: assumedRole, role: from.account.apps[app], session: from.account.functions[app],
		login: mix(text(from.account.id), bits(app), bits(since)), since: since, account: from.account.id,
	}
	g.s.sharedA, g.s.sharedB = mix(h, 1), mix(h, 2)
	g.s.requestA, g.s.requestB = mix(h, 3), mix(h, 4)
	place := from
	if owner {
		by.who.kind = awsAccount
		by.who.mfa = false
		place = to
	}
	g.s.context("tenant", "t-", string(appendHex(nil, h>>8&0xff, 4)))
	if h%3 == 0 {
		g.s.generateDataKeyAs(at, place, by, to.shared, true, to.shared.arn)
	} else {
		g.s.decrypt(at, place, by, to.shared, true)
	}
}

// defaultPolicy is what KMS gives a key when nobody says otherwise.
func defaultPolicy(account string) string {
	return `{
  "Version": "2012-10-17",
  "Id": "key-default-1",
  "Statement": [
    {
      "Sid": "Enable IAM User Permissions",
      "Effect": "Allow",
      "Principal": {
        "AWS": "arn:aws:iam::` + account + `:root"
      },
      "Action": "kms:*",
      "Resource": "*"
    }
  ]
}`
}
